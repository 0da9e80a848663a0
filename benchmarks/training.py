"""Speed of training on the processor: an events transformer through the whole Lightning path, in tokens per CPU-second.

    python benchmarks/training.py

Width 128, 2 layers, about 1.04 M parameters, batches of 32 rows, log-normal lengths of mean 187 and at most 512, one thread. Ours is
`learner.train.train_member` on a cohort on disk: fetching, priors, clipping, equal bits, Lightning, checkpoint at every epoch's end. Beside it, an epoch at
a time in turns and in the same process, run (a) a bare packed loop: the same architecture in plain torch on batches made before the clock starts,
Adam, no prior, no clipping, no promise of equal bits; (b) torch's own encoder layers on padded batches. Before the numbers are believed, all three give
the same logits from the trained weights. The rates are also set against the machine's f32 matrix product.

The script ends with 1 where ours is below 0.8 of the bare loop, by the median over epochs. It writes into a temporary folder.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.assemble import fit_views
from equipoise.batches import Batches, evidences_of, open_views
from equipoise.cohort.draft import STATIC_TIME, Draft, EventStore, TargetTable
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.cohort.split import Split
from equipoise.config.compose import search_path
from equipoise.contract.tables import TIME
from equipoise.contract.tensors import Batch, Events
from equipoise.data import epoch_batches
from equipoise.launch import checked
from equipoise.learner.loggers import Logger
from equipoise.learner.train import train_member
from equipoise.model import Model
from equipoise.run import threads

REQUIRED, MEAN_LENGTH, LONGEST, N_CODES, DAY_US = 0.8, 187, 512, 2000, 86_400_000_000
D, HEADS, LAYERS, FEEDFORWARD, WAVES, SHORTEST_DAYS, DROPOUT, BATCH = 128, 2, 2, 2, 8, 0.0416667, 0.2, 32
WORDS = (
    "modality=[ehr]",
    "encoder@modality.ehr.encoder=transformer",
    "modality.ehr.min_count=1",
    f"d_model={D}",
    f"modality.ehr.encoder.n_layers={LAYERS}",
    f"modality.ehr.encoder.n_heads={HEADS}",
    f"modality.ehr.encoder.feedforward={FEEDFORWARD}",
    f"modality.ehr.encoder.n_waves={WAVES}",
    "modality.ehr.encoder.time=waves",
    f"modality.ehr.encoder.shortest_days={SHORTEST_DAYS}",
    f"modality.ehr.encoder.dropout={DROPOUT}",
    "fusion.layers=0",
    "head=point",
    f"learner.batch_size={BATCH}",
    "trainer=cpu",
    "trainer.progress=false",
)


def lengths(n: int, rng: np.random.Generator) -> np.ndarray:
    """Events a row: log-normal with sigma 0.8, at most 511 (a summary token comes behind them), tokens of mean 187 by bisection."""
    normal = rng.standard_normal(n)
    lo, hi = 0.0, 10.0
    for _ in range(50):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if np.minimum(np.exp(mid + 0.8 * normal), LONGEST).mean() < MEAN_LENGTH else (lo, mid)
    return np.clip(np.exp(lo + 0.8 * normal).astype(int), 2, LONGEST) - 1


def cohort(n: int, folder: Path) -> Cohort:
    """Event sequences with two statics, codes as frequent as 1 / rank, a value for two of three events; who has much of one code has the outcome."""
    rng = np.random.default_rng(0)
    count = lengths(n, rng)
    stop = np.cumsum(count)
    start, total = stop - count, int(stop[-1])
    now_us = np.full(n, 1_600_000_000_000_000)
    place = np.arange(total) - np.repeat(start, count)
    days = rng.exponential(300, total)
    order = np.lexsort((-days, np.repeat(np.arange(n), count)))
    time_us = np.where(place < 2, STATIC_TIME, np.repeat(now_us, count) - (days[order] * DAY_US).astype(np.int64))
    code = np.minimum(np.exp(rng.random(total) * math.log(N_CODES)).astype(np.int32), N_CODES) - 1
    risk = (rng.random(n) < 0.3).astype(float)
    code[rng.random(total) < 0.3 * np.repeat(risk, count)] = 7
    value = np.where(rng.random(total) < 0.67, rng.standard_normal(total), np.nan).astype(np.float32)
    names = [f"S{i:05d}" for i in range(n)]
    rows = {"row_id": np.arange(n), "subject_id": names, "prediction_time": pl.Series(now_us).cast(TIME), "cluster": names}
    nothing = {"time_days": np.full(n, np.nan), "event": np.full(n, -1), "entry_days": np.zeros(n), "treatment": np.full(n, -1), "weight": np.ones(n)}
    outcome = {"outcome": risk, "observed": np.ones(n, bool)}
    draft = Draft(
        rows=pl.DataFrame(rows).with_columns(site=pl.lit(None, pl.String), role=pl.lit("train")),
        present=np.ones((n, 1), bool),
        stores={"ehr": EventStore(tuple(f"c{i}" for i in range(N_CODES)), ("",) * N_CODES, code, value, time_us, start, stop, now_us)},
        targets={"outcome": TargetTable("binary", pl.DataFrame(outcome | nothing))},
    )
    return freeze(draft, folder, f"training-{n}", {})


@dataclass(frozen=True)
class Rows:
    """A batch for the loops beside ours: rows ordered by length, packed and padded.

    Args:
        fields: code, value, observed, time_days, timed, each (N,).
        insert: i64 (N + P,), where each token, a row's summary last, lies in [events, summaries].
        runs: (rows, tokens each) of equal length.
        last: i64 (P,), each row's summary among the tokens.
        padded: the fields as (P, L), and "padding" (P, L + 1) with the summary in front.
        label: f32 (P,).
    """

    fields: dict[str, Tensor]
    insert: Tensor
    runs: list[tuple[int, int]]
    last: Tensor
    padded: dict[str, Tensor]
    label: Tensor


def rows_of(batch: Batch) -> Rows:
    """The same content as our batch."""
    part = batch.parts["ehr"]
    assert isinstance(part, Events)
    count = part.offsets.diff()
    order = torch.argsort(count, stable=True)
    pieces = [torch.arange(int(part.offsets[p]), int(part.offsets[p + 1])) for p in order]
    fields = {k: getattr(part, k) for k in ("code", "value", "observed", "time_days", "timed")}
    n = len(part.code)
    insert = torch.cat([torch.cat([piece, torch.tensor([n + i])]) for i, piece in enumerate(pieces)])
    length, rows = torch.unique_consecutive(count[order] + 1, return_counts=True)
    padded = {k: nn.utils.rnn.pad_sequence([v[piece] for piece in pieces], batch_first=True) for k, v in fields.items()}
    padding = torch.arange(int(count.max()) + 1) > count[order][:, None]
    runs = list(zip(rows.tolist(), length.tolist(), strict=True))
    return Rows(fields, insert, runs, torch.cumsum(count[order] + 1, 0) - 1, padded | {"padding": padding}, batch.targets["risk"].outcome[order])


class Bare(nn.Module):
    """The architecture in plain torch, packed."""

    def __init__(self, n_codes: int) -> None:
        super().__init__()
        self.code, self.value, self.given = (nn.Embedding(n_codes, D) for _ in range(3))
        self.log_frequency, self.static, self.summary = nn.Parameter(torch.zeros(WAVES)), nn.Parameter(torch.zeros(D)), nn.Parameter(torch.zeros(D))
        self.linear, self.norm, self.out = nn.Linear(2 * WAVES + 1, D, bias=False), nn.LayerNorm(D), nn.Linear(D, 1)
        self.blocks = nn.ModuleList([self._block() for _ in range(LAYERS)])

    @staticmethod
    def _block() -> nn.ModuleDict:
        feedforward = nn.Sequential(nn.Linear(D, FEEDFORWARD * D), nn.GELU(), nn.Linear(FEEDFORWARD * D, D))
        own = {"before_attention": nn.LayerNorm(D), "before_feedforward": nn.LayerNorm(D), "qkv": nn.Linear(D, 3 * D), "project": nn.Linear(D, D)}
        return nn.ModuleDict({**own, "feedforward": feedforward})

    def embedded(self, code: Tensor, value: Tensor, observed: Tensor, time_days: Tensor, timed: Tensor) -> Tensor:
        x = self.code(code) + observed[..., None] * (value[..., None] * self.value(code) + self.given(code))
        t = torch.log1p(time_days / SHORTEST_DAYS)[..., None]
        angle = t * self.log_frequency.exp()
        return x + torch.where(timed[..., None], self.linear(torch.cat([angle.sin(), angle.cos(), t], -1)), self.static)

    def forward(self, rows: Rows) -> Tensor:
        x = self.embedded(**rows.fields)
        x = torch.cat([x, self.summary.expand(len(rows.last), -1)])[rows.insert]
        for block in self.blocks:
            qkv = block["qkv"](block["before_attention"](x))
            attended = []
            for piece, (n, _) in zip(qkv.split([n * length for n, length in rows.runs]), rows.runs, strict=True):
                q, k, v = piece.view(n, -1, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
                attended.append(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, D))
            x = x + F.dropout(block["project"](torch.cat(attended)), DROPOUT, self.training)
            x = x + F.dropout(block["feedforward"](block["before_feedforward"](x)), DROPOUT, self.training)
        return self.out(self.norm(x[rows.last]))[:, 0]

    def take(self, model: Model) -> None:
        """The weights of a trained model of ours."""
        own = {k.removeprefix("encoders.ehr."): v for k, v in model.network.state_dict().items() if k.startswith("encoders.ehr.")}
        own = {k.removeprefix("events.").removeprefix("time."): v for k, v in own.items()}
        own = {k.replace(".weight", "") if k.startswith(("summary", "static")) else k: v for k, v in own.items()}
        weight, bias = model.network.head.get_parameter("out.weight").detach(), model.network.head.get_parameter("out.bias").detach()
        # Our fusion adds a flag of presence, which is 1 for every row here.
        self.load_state_dict({**own, "out.weight": weight[:, :D], "out.bias": bias.double() + weight[:, D]})


class Padded(nn.Module):
    """The same through torch's own encoder layers, rows padded to the batch's longest, the summary in front."""

    def __init__(self, bare: Bare) -> None:
        super().__init__()
        self.bare = bare
        layer = nn.TransformerEncoderLayer(D, HEADS, FEEDFORWARD * D, DROPOUT, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        for own, block in zip(self.layers.layers, bare.blocks, strict=True):
            own.self_attn.dropout, own.dropout.p = 0.0, 0.0
            own.self_attn.in_proj_weight, own.self_attn.in_proj_bias = block["qkv"].weight, block["qkv"].bias
            own.self_attn.out_proj = block["project"]
            own.linear1, own.linear2 = block["feedforward"][0], block["feedforward"][2]
            own.norm1, own.norm2 = block["before_attention"], block["before_feedforward"]

    def forward(self, rows: Rows) -> Tensor:
        fields = {k: v for k, v in rows.padded.items() if k != "padding"}
        x = self.bare.embedded(**fields)
        x = torch.cat([self.bare.summary.expand(len(x), 1, -1), x], 1)
        return self.bare.out(self.bare.norm(self.layers(x, src_key_padding_mask=rows.padded["padding"])[:, 0]))[:, 0]


def epoch_of(model: nn.Module, batches: list[Rows]) -> Callable[[], float]:
    """A function that trains an epoch and returns its CPU-seconds."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)

    def train() -> float:
        start = time.process_time()
        for rows in batches:
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(rows), rows.label).backward()
            optimizer.step()
        return time.process_time() - start

    return train


@contextmanager
def no_promises() -> Any:
    """Without the learner's equal bits, with gradients: as a plain script runs."""
    promised = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.use_deterministic_algorithms(promised)


class Turns(Logger):
    """Told of each finished epoch of ours, runs an epoch of every other loop; the first epoch warms up."""

    def __init__(self, others: Mapping[str, Callable[[], float]]) -> None:
        self.seconds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}
        self._others, self._since = others, math.nan

    def open(self, config: Mapping[str, Any], folder: Path) -> None: ...

    def close(self, exit_code: int) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        now = time.process_time()
        if not math.isnan(self._since):
            self.seconds["ours"].append(now - self._since)
            with no_promises():
                for name, train in self._others.items():
                    self.seconds[name].append(train())
            print("  epoch: " + ", ".join(f"{k} {v[-1]:.2f} s" for k, v in self.seconds.items()), flush=True)
        self._since = time.process_time()


def product() -> float:
    """Operations a CPU-second of a f32 matrix product, 1024 cubed, the median of ten."""
    x, taken = torch.randn(1024, 1024), []
    for _ in range(10):
        start = time.process_time()
        x @ x
        taken.append(time.process_time() - start)
    return 2 * 1024**3 / statistics.median(taken)


def flops_per_token(tokens: np.ndarray) -> float:
    """Of matrix products and attention, forward and backward (3 and 3.5 times the forward's)."""
    attended = (tokens**2).sum() / tokens.sum()
    return LAYERS * (3 * 2 * D * D * (4 + 2 * FEEDFORWARD) + 3.5 * 4 * attended * D)


def main() -> int:
    """Trains in turns and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=320, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=4, help="that are measured, behind one that warms up")
    asked = parser.parse_args()
    with threads(1), tempfile.TemporaryDirectory() as folder, search_path(None) as search:
        config = checked([*WORDS, f"learner.max_epochs={asked.epochs + 1}"], search).values
        own = cohort(asked.rows, Path(folder) / "cohort")
        split = Split.of(own)
        views = fit_views(config, own, split.train)
        source = Batches(open_views(views, own), {"ehr": "ehr"}, evidences_of(views), targets={"risk": own.target("outcome")})
        made = [source(rows) for rows in epoch_batches(split.train, BATCH, 0, 0)]
        batches = [rows_of(batch) for batch in made]
        tokens = np.concatenate([part.offsets.diff().numpy() + 1 for part in (b.parts["ehr"] for b in made) if isinstance(part, Events)])
        bare = Bare(views["ehr"].spec.n_codes)  # type: ignore[union-attr]
        others = {"bare packed": epoch_of(bare, batches), "padded": epoch_of(Padded(Bare(views["ehr"].spec.n_codes)), batches)}  # type: ignore[union-attr]
        with no_promises():
            for train in others.values():
                train()
        print(f"{tokens.size} rows, {tokens.sum():,} tokens an epoch, mean {tokens.mean():.0f}; torch {torch.__version__}, one thread", flush=True)
        turns = Turns(others)
        model = Model.load(train_member(config, own, split, seed=0, folder=Path(folder) / "member_0", loggers=[turns]))
        print(f"{model.network.n_parameters():,} parameters")
        same = alike(model, bare, made[0], batches[0])
        return verdict(turns.seconds, tokens, product()) | (not same)


def alike(model: Model, bare: Bare, batch: Batch, rows: Rows) -> bool:
    """Whether all three give the same logits from the trained weights, in double precision."""

    def doubled(fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {k: v.double() if v.is_floating_point() else v for k, v in fields.items()}

    bare.double().take(model)
    part = batch.parts["ehr"]
    assert isinstance(part, Events)
    exact = replace(batch, parts={"ehr": replace(part, value=part.value.double(), time_days=part.time_days.double())})
    wide = replace(rows, fields=doubled(rows.fields), padded=doubled(rows.padded))
    with torch.no_grad():
        ours = model.network.double().eval()(exact, n_draws=1, seed=0)["risk"].value[0, :, 0]
        expected = ours[torch.argsort(part.offsets.diff(), stable=True)]
        spread = (expected - expected.mean()).norm()
        apart = max(float((other.eval()(wide) - expected).norm() / spread) for other in (bare, Padded(bare).double()))
    print(f"logits of the three loops lie {apart:.1g} apart (relative to their spread; bound 1e-6): {'the same' if apart < 1e-6 else 'NOT THE SAME'}")
    return apart < 1e-6


def verdict(seconds: Mapping[str, list[float]], tokens: np.ndarray, machine: float) -> int:
    """Prints rates and ratios; 0 where ours is fast enough."""
    n, work = tokens.sum(), flops_per_token(tokens)
    print(f"\n{'':14}{'k tokens / CPU-s':>18}{'of f32 product':>16}{'ours / this':>13}{'min':>7}{'max':>7}")
    for name, taken in seconds.items():
        rate = n / statistics.median(taken)
        ratio = [there / here for here, there in zip(seconds["ours"], taken, strict=True)]
        print(f"{name:14}{rate / 1e3:18.2f}{rate * work / machine:16.2f}{statistics.median(ratio):13.2f}{min(ratio):7.2f}{max(ratio):7.2f}")
    found = statistics.median(b / a for a, b in zip(seconds["ours"], seconds["bare packed"], strict=True))
    said = "kept" if found >= REQUIRED else "NOT KEPT"
    print(f"f32 product {machine / 1e9:.0f} GFLOP a CPU-second; ours / bare packed {found:.2f}, required {REQUIRED}: {said}")
    return 0 if found >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
