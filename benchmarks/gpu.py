"""Tokens a second of training an events transformer on one GPU: ours, packed, beside padded layers of torch in the same run.

    python benchmarks/gpu.py --out gpu.json

Needs torch and this checkout's `src` only (no network, no installation); Lightning is measured where it can be imported. Width 256, 6 layers, 4 heads,
feed-forward 512, dropout 0.2, 2,000 codes, bf16 autocast; a step is forward, backward and fused AdamW. Rows have log-normal lengths of mean 187 and at most 512
tokens, and then all 512. Tokens are events and one summary a row; padding is not counted. The padded reference is torch's own encoder layer in
eager mode with a key padding mask, of the same architecture and weights, and its batches are padded before the clock starts.

First, outputs and gradients of both are compared. The script ends with 1 where they differ or where ours, on log-normal lengths, is below 2.5 times
the padded reference. The goal, half of the memory roofline, is printed beside it. Without a GPU it measures nothing and ends with 0.
"""

from __future__ import annotations

import argparse
import copy
import json
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from equipoise.contract.tensors import Events, EventsSpec
from equipoise.encoder import attention
from equipoise.encoder import transformer as room

REQUIRED, MEAN_LENGTH, N_CODES, FEEDFORWARD, DROPOUT = 2.5, 187, 2000, 2, 0.2


@dataclass(frozen=True)
class Size:
    """Of a run: width, blocks, heads, tokens of the longest row, rows of a batch with log-normal and with full rows, batches, seconds a measurement."""

    d_model: int = 256
    n_layers: int = 6
    n_heads: int = 4
    longest: int = 512
    rows: int = 256
    full_rows: int = 128
    n_batches: int = 4
    seconds: float = 1.0


class Ours(nn.Module):
    """The encoder and one logit a row."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.encoder = room.Transformer(
            spec=EventsSpec(N_CODES),
            d_model=size.d_model,
            n_layers=size.n_layers,
            n_heads=size.n_heads,
            feedforward=FEEDFORWARD,
            time="waves",
            n_waves=8,
            shortest_days=1 / 24,
            output="summary",
            dropout=DROPOUT,
            prior_scale=10.0,
        )
        self.out = nn.Linear(size.d_model, 1)

    def forward(self, part: Events) -> Tensor:
        return self.out(self.encoder(part).h)[:, 0]


class PaddedReference(nn.Module):
    """The same with torch's encoder layers on padded rows; the summary stands first, which changes nothing without positions."""

    def __init__(self, ours: Ours, size: Size) -> None:
        super().__init__()
        kept = copy.deepcopy(ours)
        self.events, self.time, self.summary = kept.encoder.events, kept.encoder.time, kept.encoder.summary
        self.norm, self.out = kept.encoder.norm, kept.out
        layer = nn.TransformerEncoderLayer(
            size.d_model, size.n_heads, FEEDFORWARD * size.d_model, DROPOUT, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, size.n_layers, enable_nested_tensor=False)
        for own, block in zip(self.layers.layers, kept.encoder.blocks, strict=True):
            # Dropout stands where ours has it, and nowhere else.
            own.self_attn.dropout, own.dropout.p = 0.0, 0.0
            own.self_attn.in_proj_weight, own.self_attn.in_proj_bias = block.qkv.weight, block.qkv.bias
            own.self_attn.out_proj.weight, own.self_attn.out_proj.bias = block.project.weight, block.project.bias
            own.linear1, own.linear2 = block.feedforward[0], block.feedforward[2]
            own.norm1, own.norm2 = block.before_attention, block.before_feedforward

    def forward(self, rows: dict[str, Tensor]) -> Tensor:
        shape = rows["code"].shape
        flat = {k: v.flatten() for k, v in rows.items() if k != "padding"}
        x = self.events(flat["code"], flat["value"], flat["observed"]) + self.time(flat["time_days"], flat["timed"])
        x = torch.cat([self.summary.expand(shape[0], 1, -1), x.unflatten(0, shape)], 1)
        return self.out(self.norm(self.layers(x, src_key_padding_mask=rows["padding"])[:, 0]))[:, 0]


@dataclass(frozen=True)
class Data:
    """Batches of one kind of lengths, packed and padded, with labels, and their tokens."""

    packed: list[Events]
    padded: list[dict[str, Tensor]]
    label: list[Tensor]
    tokens: int


def lengths(kind: str, n: int, longest: int, rng: np.random.Generator) -> np.ndarray:
    """Tokens a row, summary included; log-normal with sigma 0.8, cut at the longest, its mean put at 187 of 512 by bisection."""
    if kind == "full":
        return np.full(n, longest)
    normal, mean = rng.standard_normal(n), MEAN_LENGTH * longest / 512
    lo, hi = 0.0, 10.0
    for _ in range(50):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if np.minimum(np.exp(mid + 0.8 * normal), longest).mean() < mean else (lo, mid)
    return np.clip(np.exp(lo + 0.8 * normal).astype(int), 2, longest)


def data(kind: str, size: Size, device: torch.device) -> Data:
    """Codes as frequent as 1 / rank, statics first, values for two of three events."""
    rng = np.random.default_rng(0)
    packed, padded, label = [], [], []
    for _ in range(size.n_batches):
        n = size.rows if kind == "lognormal" else size.full_rows
        events = lengths(kind, n, size.longest, rng) - 1
        place = np.arange(size.longest - 1)
        real = place < events[:, None]
        code = np.minimum(np.exp(rng.random(real.shape) * np.log(N_CODES)), N_CODES - 1).astype(np.int32)
        observed = (rng.random(real.shape) < 0.67) & real
        full = {
            "code": code * real,
            "value": (rng.standard_normal(real.shape) * observed).astype(np.float32),
            "observed": observed,
            "time_days": (np.sort(rng.exponential(300, real.shape), 1)[:, ::-1] * real * (place > 1)).astype(np.float32),
            "timed": real & (place > 1),
        }
        offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(events)]))
        flat = {k: torch.from_numpy(np.ascontiguousarray(v[real])) for k, v in full.items()}
        packed.append(Events(rows=torch.arange(n), size=n, offsets=offsets, longest=size.longest - 1, **flat).to(device))
        padding = torch.from_numpy(np.concatenate([np.zeros((n, 1), bool), ~real], 1))
        padded.append({k: torch.from_numpy(np.ascontiguousarray(v)).to(device) for k, v in full.items()} | {"padding": padding.to(device)})
        label.append(torch.from_numpy((rng.random(n) < 0.3).astype(np.float32)).to(device))
    return Data(packed, padded, label, sum(int(p.offsets[-1]) + p.size for p in packed))


def optimizer(model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=device.type == "cuda")


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def speed(model: nn.Module, batches: list[Any], of: Data, size: Size, device: torch.device) -> dict[str, float]:
    """Tokens a second, the median of three measurements after a warm-up over all batches, and the spread of the three."""
    own, n = optimizer(model, device), len(batches)

    def train(steps: int) -> float:
        wait(device)
        start = time.perf_counter()
        for i in range(steps):
            own.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16):
                loss = F.binary_cross_entropy_with_logits(model(batches[i % n]).float(), of.label[i % n])
            loss.backward()
            own.step()
        wait(device)
        return time.perf_counter() - start

    first = train(2 * n)
    steps = n * max(1, round(size.seconds / train(n)))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    rates = sorted(steps / n * of.tokens / train(steps) for _ in range(3))
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    found = {"tokens_per_s": rates[1], "spread": (rates[2] - rates[0]) / rates[1], "ms_per_step": 1e3 * of.tokens / n / rates[1]}
    return found | {"gib": memory, "first_steps_s": first}


def lightning_speed(model: nn.Module, of: Data, size: Size, device: torch.device) -> dict[str, float]:
    """The same step through Lightning's loop (hand-written optimisation as in `equipoise.learner`), batches moved from pinned host memory."""
    import logging
    import warnings

    import pytorch_lightning as pl
    from torch.utils.data import DataLoader

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    pinned = device.type == "cuda"
    host = [(p.to("cpu"), y.cpu()) for p, y in zip(of.packed, of.label, strict=True)]
    host = [(p.pin_memory(), y.pin_memory()) for p, y in host] if pinned else host
    n, clock = len(host), []
    warm, rounds = 2 * n, 4 if size.seconds < 1 else 40

    class Step(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.model = model

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer(self.model, device)

        def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
            return tuple(x.to(device, non_blocking=True) for x in batch)

        def training_step(self, batch: Any, batch_idx: int) -> None:
            own: Any = self.optimizers()
            own.zero_grad()
            self.manual_backward(F.binary_cross_entropy_with_logits(self.model(batch[0]).float(), batch[1]))
            own.step()

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx + 1 in (warm, warm + rounds * n):
                wait(device)
                clock.append(time.perf_counter())

    trainer = pl.Trainer(
        accelerator="gpu" if pinned else "cpu",
        devices=1,
        precision="bf16-mixed",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(Step(), DataLoader(host * (2 + rounds), batch_size=None, collate_fn=lambda x: x))
    seconds = clock[1] - clock[0]
    return {"tokens_per_s": rounds * of.tokens / seconds, "ms_per_step": 1e3 * seconds / (rounds * n)}


def bytes_per_token(size: Size, n_parameters: int, tokens_per_step: float) -> float:
    """The fewest bytes that a step of this shape moves through device memory for a token, with element-wise stages fused and the matrix products apart.

    Counted in vectors of D bf16 numbers, the f32 residual stream as two. A block forward: two additions with the normalisation
    behind them 6 + 6, products 4 + 2 + (1 + f) + (f + 1), attention 4, activation 2 f. Backward: a product reads its gradient twice and its input once and
    writes one gradient (8 + 4 + 2 (2 + 2 f)), attention 8, activation 3 f, normalisations with additions 8 + 8. Embeddings add 10.
    Once a step the optimizer moves 28 bytes a parameter, and its f32 gradient and bf16 copy 14 more. What attention reads again is taken to stay in cache.
    """
    f = FEEDFORWARD
    forward = 6 + 6 + 4 + 2 + (1 + f) + (f + 1) + 4 + 2 * f
    backward = 8 + 4 + 2 * (2 + 2 * f) + 8 + 3 * f + 8 + 8
    return 2 * size.d_model * (size.n_layers * (forward + backward) + 10) + 42 * n_parameters / tokens_per_step


def flops_per_token(size: Size, attended: float) -> float:
    """Of matrix products and attention, forward and backward (3 and 3.5 times the forward's); ``attended`` tokens are seen by one."""
    d = size.d_model
    return size.n_layers * (3 * 2 * d * d * (4 + 2 * FEEDFORWARD) + 3.5 * 4 * attended * d)


def bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a copy on the device of 1 GiB."""
    x = torch.randn(2**28 if device.type == "cuda" else 2**20, device=device)
    y = torch.empty_like(x)
    return 2 * x.nbytes / _seconds(lambda: y.copy_(x), device)


def product(device: torch.device) -> float:
    """Operations a second of a bf16 matrix product, 8192 cubed."""
    n = 8192 if device.type == "cuda" else 256
    x = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    return 2 * n**3 / _seconds(lambda: x @ x, device)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    for _ in range(3):
        call()
    taken = []
    for _ in range(10):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def check(size: Size, device: torch.device, dtype: torch.dtype | None, way: Callable[[Tensor, int], attention.Within] | None) -> dict[str, float]:
    """Relative errors of ours, in this number type and by this way, against the padded reference in f32: logits and two gradients."""
    ours = Ours(size).to(device)
    for module in ours.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    reference = PaddedReference(ours, size)
    for module in reference.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    of = data("lognormal", size, device)
    direction = torch.randn(of.packed[0].size, device=device)
    chosen = attention.within
    try:
        if way is not None:
            room.within = lambda offsets, x, **_: way(offsets, x.shape[0])  # type: ignore[assignment]
        with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            got = ours(of.packed[0]).float()
            (got * direction).sum().backward()
    finally:
        room.within = chosen  # type: ignore[assignment]
    expected = reference(of.padded[0])
    (expected * direction).sum().backward()
    first, other = ours.encoder.blocks[0].qkv.weight.grad, reference.layers.layers[0].self_attn.in_proj_weight.grad
    codes = ours.encoder.events.code.weight.grad, reference.events.code.weight.grad
    pairs = {"logits": (got.detach(), expected.detach()), "qkv": (first, other), "codes": codes}
    return {k: float((a - b).norm() / b.norm()) for k, (a, b) in pairs.items()}


def prepare(how: str, ours: Ours) -> Ours:
    """Ours, eager or compiled by parts: what stays out is the choice of the way, made once a batch."""
    if how in ("blocks", "blocks + embeddings"):
        for block in ours.encoder.blocks:
            block.compile(dynamic=True)
    if how in ("stack", "stack + embeddings"):
        ours.encoder.through = torch.compile(ours.encoder.through, dynamic=True)  # type: ignore[method-assign]
    if "embeddings" in how:
        ours.encoder.events.compile(dynamic=True)
        ours.encoder.time.compile(dynamic=True)
    return ours


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError when the body takes longer."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds:.0f} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Run:
    """What was found, written after every step; an error is printed, kept and passed over."""

    def __init__(self, out: Path | None, seconds: float) -> None:
        self.found: dict[str, Any] = {"errors": {}}
        self._out, self._start, self._seconds = out, time.monotonic(), seconds

    def left(self) -> float:
        return self._seconds - (time.monotonic() - self._start)

    def __call__(self, name: str, call: Callable[[], Any], *, at_most_s: float = 60.0) -> Any:
        start = time.monotonic()
        result = None
        try:
            with at_most(min(at_most_s, self.left())):
                result = self.found[name] = call()
        except BaseException as e:
            if isinstance(e, KeyboardInterrupt):
                raise
            self.found["errors"][name] = f"{type(e).__name__}: {e}"
            traceback.print_exc(limit=-4)
        said = {k: float(f"{v:.4g}") for k, v in result.items()} if isinstance(result, dict) else result
        print(f"[{time.monotonic() - self._start:6.1f} s] {name}: {said} ({time.monotonic() - start:.1f} s)", flush=True)
        self.write()
        return result

    def write(self) -> None:
        if self._out is not None:
            self._out.write_text(json.dumps(self.found, indent=1))


def questions(model: nn.Module, of: Data) -> dict[str, int]:
    """How often a step's forward and backward wait for the device; 0 lets the host run ahead."""
    import warnings

    counts = {}
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with torch.autocast("cuda", torch.bfloat16):
                loss = F.binary_cross_entropy_with_logits(model(of.packed[0]).float(), of.label[0])
            counts["forward"] = len(said)
            loss.backward()
            counts["backward"] = len(said) - counts["forward"]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for at in {f"{w.filename}:{w.lineno}" for w in said}:
        print(f"    waits at {at}")
    return counts


def profile(model: nn.Module, of: Data, device: torch.device) -> list[str]:
    """The kernels that take most of the device's time in three steps, a line each."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorded

    own = optimizer(model, device)
    with recorded(activities=[ProfilerActivity.CUDA]) as taken:
        for i in range(3):
            own.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16):
                loss = F.binary_cross_entropy_with_logits(model(of.packed[i]).float(), of.label[i])
            loss.backward()
            own.step()
        wait(device)
    kernels = sorted(taken.key_averages(), key=lambda k: -k.self_device_time_total)
    total = sum(k.self_device_time_total for k in kernels)
    lines = [
        f"{100 * k.self_device_time_total / total:5.1f} % {k.self_device_time_total / 3e3:8.3f} ms {k.count / 3:6.1f}x  {k.key[:110]}" for k in kernels[:25]
    ]
    return [f"device time {total / 3e3:.2f} ms a step", *lines]


VARIANTS = ("eager", "blocks", "stack", "stack + embeddings")
"""As users have it, and compiled; each takes longer to compile than the one before."""
BOUNDS = {"bf16": 0.05, "f32": 1e-3}


def measured(run: Run, size: Size, device: torch.device) -> None:
    """All checks and speeds."""
    run("bandwidth_bytes_per_s", lambda: bandwidth(device))
    run("bf16_product_flop_per_s", lambda: product(device))
    small = Size(size.d_model, 2, size.n_heads, size.longest, min(size.rows, 64), 0, 1)
    run("check bf16 as chosen", lambda: check(small, device, torch.bfloat16, None))
    run("check f32 as chosen", lambda: check(small, device, None, None))
    run("check f32 runs", lambda: check(small, device, None, lambda offsets, n: attention.Runs(offsets)))
    run("check f32 padded", lambda: check(small, device, None, lambda offsets, n: attention.Padded(offsets, size.longest, n)))
    run("check bf16 padded", lambda: check(small, device, torch.bfloat16, lambda offsets, n: attention.Padded(offsets, size.longest, n)))
    sets = {kind: data(kind, size, device) for kind in ("lognormal", "full")}
    run.found["tokens_per_step"] = {kind: of.tokens / len(of.packed) for kind, of in sets.items()}
    torch.manual_seed(0)
    ours = Ours(size).to(device)
    run.found["n_parameters"] = sum(p.numel() for p in ours.parameters())
    for kind, of in sets.items():
        run(f"{kind}: padded eager", lambda of=of: speed(PaddedReference(ours, size), of.padded, of, size, device))  # type: ignore[misc]
    # The processor attends in runs, whose lengths differ from batch to batch: nothing to compile.
    for how in VARIANTS if device.type == "cuda" else VARIANTS[:1]:
        model = prepare(how, copy.deepcopy(ours))
        for kind, of in sets.items():
            if run.left() < (40 if how.startswith("stack") and kind == "lognormal" else 10):
                print(f"no time left for {kind}: ours {how}", flush=True)
                break
            if run(f"{kind}: ours {how}", lambda model=model, of=of: speed(model, of.packed, of, size, device)) is None:  # type: ignore[misc]
                break
        if how == "eager":
            as_users_have_it(run, model, sets["lognormal"], size, device)


def as_users_have_it(run: Run, model: nn.Module, of: Data, size: Size, device: torch.device) -> None:
    """Where the time of a step goes, and what Lightning's loop adds."""
    if device.type == "cuda":
        run("questions to the device", lambda: questions(model, of))
        run("profile", lambda: profile(model, of, device))
        # A copy, because Lightning leaves the model on the processor.
        run("lognormal: ours eager through Lightning", lambda: lightning_speed(copy.deepcopy(model), of, size, device))


def verdict(run: Run, size: Size) -> int:
    """Prints the table; 0 where everything is kept."""
    found, kept = run.found, True
    print("\n" + "\n".join(found.get("profile") or []))
    for name, errors in ((k, v) for k, v in found.items() if k.startswith("check")):
        bound = BOUNDS[name.split()[1]]
        right = max(errors.values()) < bound
        kept &= right
        print(f"{name:28} {'  '.join(f'{k} {v:.2g}' for k, v in errors.items())}  bound {bound:g}: {'kept' if right else 'NOT KEPT'}")
    print(f"\n{'':44}{'M tokens/s':>12}{'spread':>9}{'ms/step':>9}{'GiB':>7}{'ratio':>8}{'of roofline':>13}")
    found["ratio"] = {}
    for kind in ("lognormal", "full"):
        moved = bytes_per_token(size, found["n_parameters"], found["tokens_per_step"][kind])
        roof = found["bandwidth_bytes_per_s"] / moved if "bandwidth_bytes_per_s" in found else float("nan")
        base = found.get(f"{kind}: padded eager", {}).get("tokens_per_s", float("nan"))
        for name, row in ((k, v) for k, v in found.items() if k.startswith(f"{kind}:")):
            rate = row["tokens_per_s"]
            found["ratio"][name] = rate / base
            print(
                f"{name:44}{rate / 1e6:12.3f}{row.get('spread', float('nan')):9.1%}{row['ms_per_step']:9.2f}{row.get('gib', float('nan')):7.1f}"
                f"{rate / base:8.2f}{rate / roof:13.1%}"
            )
        print(f"{kind}: memory roofline {moved / 1e3:.0f} kB a token, {roof / 1e6:.2f} M tokens/s; goal half of it\n")
    ratios = [v for k, v in found["ratio"].items() if k.startswith("lognormal: ours") and v == v]
    fast = bool(ratios) and max(ratios) >= REQUIRED
    print(f"ours / padded eager on log-normal lengths {max(ratios, default=float('nan')):.2f}, required {REQUIRED}: {'kept' if fast else 'NOT KEPT'}")
    if found["errors"]:
        print("errors: " + "; ".join(f"{k}: {v[:200]}" for k, v in found["errors"].items()))
    run.write()
    return 0 if kept and fast and not any(k.startswith("check") for k in found["errors"]) else 1


def main() -> int:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON of all numbers")
    parser.add_argument("--seconds", type=float, default=150.0, help="nothing new is started after this")
    parser.add_argument("--rehearse", action="store_true", help="a tiny size on the processor, to try the script itself; its numbers mean nothing")
    asked = parser.parse_args()
    if not torch.cuda.is_available() and not asked.rehearse:
        print("no GPU: nothing measured")
        return 0
    device = torch.device("cpu" if asked.rehearse else "cuda")
    size = Size(32, 2, 2, 64, 12, 6, 2, 0.05) if asked.rehearse else Size()
    run = Run(asked.out, asked.seconds)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "processor"
    run.found |= {"torch": torch.__version__, "device": name, "size": vars(size)}
    print(f"torch {torch.__version__} on {name}; {vars(size)}", flush=True)
    torch._dynamo.config.cache_size_limit = 64
    measured(run, size, device)
    return verdict(run, size)


if __name__ == "__main__":
    sys.exit(main())
