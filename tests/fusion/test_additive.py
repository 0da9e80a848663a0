"""Additive fusion: what it sums, whom a row teaches, and whether residual fitting helps where one view is strong and the other wide."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Tokens, Vector, VectorSpec
from equipoise.encoder.linear import Linear
from equipoise.fusion import Fusion
from equipoise.fusion.additive import Additive
from equipoise.fusion.concat import Concat
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_tokens, row_tokens

VIEWS = {"a": 0, "b": 1, "c": 1}
SIZE, WIDTH = 6, 8
PRESENT = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0], [1, 1]], dtype=torch.bool)


def _made(*first: str, mapped: bool = True) -> Additive:
    with seeded(1):
        return Additive(views=VIEWS, n_evidences=2, d_model=WIDTH, first=list(first), mapped=mapped, residual=True, prior_scale=1.0)


def _alone(fusion: Additive, tokens: dict[str, Tokens], row: int, view: str) -> Tensor:
    contribution = fusion.maps[view](row_tokens(tokens[view], row).mean(0))
    assert isinstance(contribution, Tensor)
    return contribution


def test_a_prediction_is_the_sum_of_what_is_there_whatever_the_order() -> None:
    tokens = {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}
    fusion = _made().eval()
    z = fusion(tokens, PRESENT)
    for row in range(SIZE):
        there = [_alone(fusion, tokens, row, view) for view, column in VIEWS.items() if PRESENT[row, column]]
        torch.testing.assert_close(z[row], sum(there, fusion.empty))
    torch.testing.assert_close(_made("c", "a").eval()(tokens, PRESENT), z)


def test_without_maps_the_mean_tokens_themselves_are_summed() -> None:
    tokens = {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}
    fusion = _made(mapped=False).eval()
    z = fusion(tokens, PRESENT)
    assert [name for name, _ in fusion.named_parameters()] == ["empty"]
    for row in range(SIZE):
        there = [row_tokens(tokens[view], row).mean(0) for view, column in VIEWS.items() if PRESENT[row, column]]
        torch.testing.assert_close(z[row], sum(there, fusion.empty))


def test_in_training_a_row_teaches_one_view_on_what_the_earlier_ones_leave() -> None:
    tokens = {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}
    fusion = _made("c").train()  # order c, a, b
    met = set()
    for draw in range(25):
        with seeded(draw):
            z = fusion(tokens, PRESENT)
        for row in range(SIZE):
            fusion.zero_grad()
            z[row].sum().backward(retain_graph=True)
            taught = [v for v, m in fusion.maps.items() if m.weight.grad is not None and bool((m.weight.grad != 0).any())]
            there = [v for v in "cab" if PRESENT[row, VIEWS[v]]]
            met.add((row, *taught))
            if not there:
                assert not taught
                continue
            (view,) = taught
            heard = there[: there.index(view) + 1]
            torch.testing.assert_close(z[row], sum((_alone(fusion, tokens, row, v) for v in heard), fusion.empty))
            mean = row_tokens(tokens[view], row).mean(0)
            torch.testing.assert_close(fusion.maps[view].weight.grad, len(there) * mean.expand(WIDTH, -1))
    assert met == {(r, v) for r in range(SIZE) for v, column in VIEWS.items() if PRESENT[r, column]} | {(4,)}


def test_the_earlier_view_is_fitted_as_if_it_were_alone_and_the_later_to_its_residual() -> None:
    """Two correlated numbers, squared error, no priors: least squares on the first, then of its residual on the second."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((600, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    y = x @ np.array([1.0, 0.7]) + 0.3 * rng.standard_normal(600)
    first = float(x[:, 0] @ y / (x[:, 0] @ x[:, 0]))
    second = float(x[:, 1] @ (y - first * x[:, 0]) / (x[:, 1] @ x[:, 1]))
    with seeded(3):
        fusion = Additive(views={"a": 0, "b": 1}, n_evidences=2, d_model=1, first=[], mapped=True, residual=True, prior_scale=1.0).train()
    tokens = {v: Tokens(torch.from_numpy(x[:, [i]].astype(np.float32)), torch.arange(601)) for i, v in enumerate("ab")}
    outcome, present = torch.from_numpy(y.astype(np.float32)), torch.ones(600, 2, dtype=torch.bool)
    optimizer = torch.optim.Adam(fusion.parameters(), lr=0.05)
    found = []
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 250)
        with seeded(1000 + step):
            loss = (fusion(tokens, present)[:, 0] - outcome).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append([float(fusion.maps[v].weight.detach()) for v in "ab"])
    assert np.mean(found[-100:], 0) == pytest.approx([first, second], abs=0.05)
    joint = np.linalg.lstsq(x, y, rcond=None)[0]
    assert abs(first - joint[0]) > 0.2  # together they would be fitted otherwise


@pytest.mark.parametrize("first", [["d"], ["a", "a"]])
def test_an_order_that_cannot_be_is_refused(first: list[str]) -> None:
    with pytest.raises(UserError, match=r"fusion\.first is .*some of the views a, b, c"):
        _made(*first)


def _excess(kind: str, seed: int, *, prior_scale: float, lr_scale: float) -> float:
    """Squared error beyond the noise on 2,000 new rows: 300 train and 150 select rows, early stopping.

    View a has 5 numbers and half of the outcome's variance, view b 1,000 and a fifth. Linear encoders with a ridge prior; that of b is scaled so.
    """
    rng = np.random.default_rng(seed)
    beta = [rng.standard_normal(5), rng.standard_normal(1000)]
    beta = [b * np.sqrt(share) / np.linalg.norm(b) for b, share in zip(beta, (0.5, 0.2), strict=True)]

    def drawn(n: int) -> list[Tensor]:
        x = [rng.standard_normal((n, b.size)) for b in beta]
        mean = sum(v @ b for v, b in zip(x, beta, strict=True))
        return [torch.from_numpy(v.astype(np.float32)) for v in (*x, mean, mean + 0.3**0.5 * rng.standard_normal(n))]

    train, select, new = drawn(300), drawn(150), drawn(2000)
    width, spec = 16, {k: VectorSpec(k, (), np.zeros((k, 2), np.float32)) for k in (5, 1000)}
    shape = {"views": {"a": 0, "b": 1}, "n_evidences": 2, "d_model": width, "prior_scale": 10.0}
    with seeded(seed):
        encoders = [
            Linear(spec=spec[5], d_model=width, missing_effects=False, prior_scale=1.0, lr_scale=0.3),
            Linear(spec=spec[1000], d_model=width, missing_effects=False, prior_scale=prior_scale, lr_scale=lr_scale),
        ]
        layers = {"concat": 1, "linear concat": 0}.get(kind, 0)
        fusion: Fusion = Additive(**shape, first=["b"] if kind == "reversed" else [], mapped=True, residual=True) if kind in ("additive", "reversed") else None  # type: ignore[arg-type, assignment]
        fusion = fusion or Concat(**shape, layers=layers, hidden=64, dropout=0.1)  # type: ignore[arg-type]
        head = nn.Linear(fusion.d_out, 1)
        nn.init.normal_(head.weight, std=0.1 / fusion.d_out**0.5)

    def error(data: list[Tensor], outcome: Tensor) -> Tensor:
        n = len(outcome)
        parts = [Vector(torch.arange(n), n, x, torch.ones_like(x, dtype=torch.bool), torch.zeros(n, 0, dtype=torch.int32)) for x in data[:2]]
        tokens = {v: encoder(part) for v, encoder, part in zip("ab", encoders, parts, strict=True)}
        return (head(fusion(tokens, torch.ones(n, 2, dtype=torch.bool)))[:, 0] - outcome).square().mean()

    groups = [{"params": [*fusion.parameters(), *head.parameters()], "lr": 0.002}]
    groups += [{"params": list(e.parameters()), "lr": 0.002 * e.lr_scale} for e in encoders]
    optimizer, best, since = torch.optim.Adam(groups), (np.inf, np.inf), 0
    with seeded(seed + 1):
        for _ in range(60):
            fusion.train()
            for rows in torch.randperm(300).split(64):
                penalty = fusion.penalty() + encoders[0].penalty() + encoders[1].penalty() + fusion.d_out / 2 * head.weight.square().sum()
                loss = error([x[rows] for x in train[:2]], train[3][rows]) / 0.6 + penalty / 300
                optimizer.zero_grad()
                loss.backward()
                for group in groups:
                    nn.utils.clip_grad_norm_(group["params"], 1.0)  # type: ignore[arg-type]
                optimizer.step()
            fusion.eval()
            with torch.no_grad():
                on_select = float(error(select, select[3]))
                best, since = ((on_select, float(error(new, new[2]))), 0) if on_select < best[0] else (best, since + 1)
            if since >= 8:
                break
    return best[1]


@pytest.mark.slow
def test_with_one_strong_and_one_wide_view_it_is_not_worse_than_concat() -> None:
    """Seeds 0 to 3. `concat` as it comes, with a layer, is worse whether the wide view's prior is right (.5) or, as with one optimiser and no prior
    of its own, too wide (5). A linear concat is as good or better where the prior is right, and much worse where it is not."""
    kinds = ("additive", "reversed", "concat", "linear concat")
    found = {
        (kind, prior): np.mean([_excess(kind, seed, prior_scale=prior, lr_scale=lr) for seed in range(4)])
        for prior, lr in ((0.5, 0.1), (5.0, 1.0))
        for kind in kinds
    }
    print({k: round(float(v), 3) for k, v in found.items()})
    for prior in (0.5, 5.0):
        assert found["additive", prior] < found["concat", prior]
        assert found["additive", prior] < found["reversed", prior]
    assert found["additive", 0.5] < found["linear concat", 0.5] + 0.03
    assert found["additive", 5.0] < found["linear concat", 5.0] - 0.05
