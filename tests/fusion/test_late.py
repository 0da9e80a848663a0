"""Late fusion: what is pooled, who is taught when, and what happens to an evidence that says nothing."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from equipoise.contract.tensors import Tokens
from equipoise.fusion.late import Late
from equipoise.fusion.turns import louder, turns
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_tokens, row_tokens

VIEWS = {"a": 0, "b": 1, "c": 1}
SIZE, WIDTH = 6, 8
PRESENT = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0], [1, 1]], dtype=torch.bool)


def _late(views: dict[str, int] = VIEWS, width: int = WIDTH, sparsity: float = 3.0) -> Late:
    return Late(views=views, n_evidences=max(views.values()) + 1, d_model=width, sparsity=sparsity, prior_scale=10.0)


def _one_each(x: Tensor) -> Tokens:
    return Tokens(x, torch.arange(x.shape[0] + 1))


def test_with_a_linear_head_the_answers_of_the_views_are_pooled() -> None:
    tokens = {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}
    with seeded(1):
        fusion, head = _late().eval(), nn.Linear(WIDTH, 1)
        nn.init.uniform_(fusion.root, 0.3, 1.5)
        nn.init.constant_(fusion.overlap_root, 0.7)
    answer, nothing = head(fusion(tokens, PRESENT))[:, 0], head(fusion.empty)[0]
    weight = torch.tensor(list(fusion.weights().values()))
    for row in range(SIZE):
        expected = nothing
        there = [i for i, column in enumerate(VIEWS.values()) if PRESENT[row, column]]
        for i in there:
            alone = head(fusion.maps[i](row_tokens(tokens[list(VIEWS)[i]], row).mean(0)))[0]
            others = sum(weight[j] for j in there if j != i)
            expected = expected + weight[i] / (1 + 0.49 * others) * (alone - nothing)
        torch.testing.assert_close(answer[row], expected)


def test_in_training_a_row_teaches_one_view_or_the_base_or_the_pool() -> None:
    tokens = {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}
    with seeded(2):
        fusion = _late()
    met = set()
    for draw in range(20):
        with seeded(draw):
            z = fusion.train()(tokens, PRESENT)
        for row in range(SIZE):
            fusion.zero_grad()
            z[row].sum().backward(retain_graph=True)
            moved = [n for n, p in fusion.named_parameters() if p.grad is not None and bool((p.grad != 0).any())]
            taught = frozenset(n.split(".weight")[0] for n in moved if "bias" not in n)
            met.add((row, taught))
            for i, column in enumerate(VIEWS.values()):
                if taught == {f"maps.{i}"}:
                    mean = row_tokens(tokens[list(VIEWS)[i]], row).mean(0)
                    assert PRESENT[row, column]
                    torch.testing.assert_close(z[row], fusion.maps[i](mean))
                    # As loud as if each of the row's turns had been this view's.
                    n_turns = int(PRESENT[row, list(VIEWS.values())].sum()) + 2
                    torch.testing.assert_close(fusion.maps[i].weight.grad, n_turns * mean.expand(WIDTH, -1))
    names = {taught for _, taught in met}
    assert {frozenset({f"maps.{i}"}) for i in range(3)} | {frozenset({"empty"}), frozenset({"root", "overlap_root"})} <= names
    assert all(len(taught) <= 1 or taught <= {"root", "overlap_root"} for taught in names)
    assert all(taught <= {"empty"} for row, taught in met if row == 4)


def test_turns_are_fair_and_louder_changes_the_gradient_alone() -> None:
    eligible = torch.tensor([[True, False, True, True]]).expand(6000, -1)
    with seeded(3):
        count = torch.bincount(turns(eligible), minlength=4)
    assert count[1] == 0
    assert (count[[0, 2, 3]] - 2000).abs().max() < 4 * (6000 * 2 / 9) ** 0.5
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = louder(x, torch.tensor([2.0, 5.0]))
    y.sum().backward()
    assert torch.equal(y, x)
    assert torch.equal(x.grad, torch.tensor([[2.0, 2.0], [5.0, 5.0]]))


def test_weights_on_select_rows_equal_the_closed_form_where_views_never_meet() -> None:
    """Rows with one view each and unit noise: w = max(0, (s'y - sparsity) / s's), soft thresholding, whatever the overlap is."""
    rng = np.random.default_rng(4)
    n, truth = 60, np.array([0.8, 0.02, -0.5])
    view = np.arange(n) % 3
    said = rng.standard_normal(n)
    outcome = truth[view] * said + 0.1 * rng.standard_normal(n)
    fusion = _late({"a": 0, "b": 1, "c": 2}, 1).double().eval()
    with torch.no_grad():
        for part in fusion.maps:
            part.weight.fill_(1.0), part.bias.zero_()
        fusion.empty.zero_()
    tokens = {v: _one_each(torch.from_numpy(said)[:, None]) for v in "abc"}
    present, y = torch.from_numpy(view[:, None] == np.arange(3)), torch.from_numpy(outcome)
    fusion.fit(tokens, present, lambda z: (z[:, 0] - y).square().sum() / 2)
    expected = [max(0.0, (said[view == k] @ outcome[view == k] - 3.0) / (said[view == k] @ said[view == k])) for k in range(3)]
    assert list(fusion.weights().values()) == pytest.approx(expected, abs=1e-3)
    assert expected[0] > 0.5
    assert expected[1:] == [0.0, 0.0]


def test_views_that_say_the_same_are_averaged_and_views_that_say_other_things_are_added() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((2, 2000))
    for other, y, expected in ((a, a, 1.0), (b, a + b, 0.0)):
        fusion = _late({"a": 0, "b": 1}, 1).double().eval()
        with torch.no_grad():
            for part in fusion.maps:
                part.weight.fill_(1.0), part.bias.zero_()
            fusion.empty.zero_()
        alone = np.arange(2000) % 3
        present = torch.from_numpy(np.stack([alone != 1, alone != 2], 1))
        tokens = {"a": _one_each(torch.from_numpy(a)[:, None]), "b": _one_each(torch.from_numpy(other)[:, None])}
        noisy = torch.from_numpy(np.where(alone == 1, other, np.where(alone == 2, a, y)) + 0.3 * rng.standard_normal(2000))
        fusion.fit(tokens, present, lambda z, y=noisy: (z[:, 0] - y).square().sum() / 0.18)
        assert float(fusion.overlap_root.detach() ** 2) == pytest.approx(expected, abs=0.05)
        assert list(fusion.weights().values()) == pytest.approx([1.0, 1.0], abs=0.05)


def test_where_the_select_rows_give_no_number_the_weights_stay_as_they_were_learnt() -> None:
    fusion = _late().eval()
    with torch.no_grad():
        fusion.root.copy_(torch.tensor([0.5, 0.7, 0.9]))
    tokens = {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}
    fusion.fit(tokens, PRESENT, lambda z: z.sum() * torch.nan)
    assert list(fusion.weights().values()) == pytest.approx([0.25, 0.49, 0.81])


def _trained(seed: int, *, null: bool) -> tuple[float, dict[str, float], dict[str, float]]:
    """Squared error beyond the noise on 4,000 new rows; weights learnt on train rows; weights found on select rows.

    Views a (8 entries, 1/2 of the outcome's variance) and b (4 entries, 1/6), and one of 16 entries of noise; a fifth of each is absent.
    """
    width, sizes = 16, {"a": 8, "b": 4, **({"null": 16} if null else {})}
    rng = np.random.default_rng(seed)
    beta = {"a": rng.standard_normal(8), "b": rng.standard_normal(4)}
    beta = {"a": beta["a"] / np.linalg.norm(beta["a"]), "b": beta["b"] / np.linalg.norm(beta["b"]) / 3**0.5}

    def drawn(n: int) -> tuple[dict[str, Tokens], Tensor, Tensor, Tensor]:
        x = {view: np.pad(rng.standard_normal((n, size)), ((0, 0), (0, width - size))) for view, size in {"a": 8, "b": 4, "null": 16}.items()}
        present = rng.random((n, 3)) < 0.8
        mean = sum(x[v][:, : b.size] @ b for v, b in beta.items())
        seen = sum(np.where(present[:, i], x[v][:, : b.size] @ b, 0.0) for i, (v, b) in enumerate(beta.items()))
        numbers = (torch.from_numpy(np.asarray(k, dtype=np.float32)) for k in (mean + rng.standard_normal(n) / 3**0.5, seen))
        return {v: _one_each(torch.from_numpy(x[v].astype(np.float32))) for v in sizes}, torch.from_numpy(present), *numbers

    train, select, new = drawn(300), drawn(300), drawn(4000)
    with seeded(seed):
        fusion, head = _late(dict(zip(sizes, range(3), strict=False)), width, sparsity=1.0), nn.Linear(width, 1)
        optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.01)
        for _ in range(250):
            nll = (head(fusion.train()(*train[:2]))[:, 0] - train[2]).square().mean() * 1.5
            loss = nll + (fusion.penalty() + width / 2 * head.weight.square().sum()) / 300
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    learnt = fusion.eval().weights()
    fusion.fit(*select[:2], lambda z: (head(z)[:, 0] - select[2]).square().sum() * 1.5)
    with torch.no_grad():
        error = float((head(fusion(*new[:2]))[:, 0] - new[3]).square().mean())
    return error, learnt, fusion.weights()


@pytest.mark.slow
def test_an_evidence_that_says_nothing_is_gated_out_and_costs_nothing() -> None:
    fits = [(_trained(seed, null=True), _trained(seed, null=False)) for seed in range(8)]
    null = np.array([with_null[2]["null"] for with_null, _ in fits])
    on_train = np.array([with_null[1]["null"] for with_null, _ in fits])
    excess = np.array([with_null[0] - without[0] for with_null, without in fits])
    assert np.median(null) < 0.05
    assert null.max() < 0.2
    assert (null < on_train).all()  # opinions about the rows that taught them flatter
    assert all(with_null[2]["a"] > 0.5 for with_null, _ in fits)
    assert excess.mean() < 0.01
