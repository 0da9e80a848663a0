"""Gates: who may speak in a row, and who is heard."""

import pytest
import torch

from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Tokens
from equipoise.fusion.gated import Gated
from equipoise.testing.network_laws import seeded
from equipoise.testing.parts import random_tokens, row_tokens

VIEWS = {"a": 0, "b": 1, "c": 1}
SIZE, WIDTH = 6, 8
PRESENT = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0], [1, 1]], dtype=torch.bool)


def _made(gate: str) -> tuple[Gated, dict[str, Tokens]]:
    with seeded(1):
        fusion = Gated(views=VIEWS, n_evidences=2, d_model=WIDTH, gate=gate, prior_scale=1.0)
    return fusion, {view: random_tokens(size=SIZE, width=WIDTH, seed=30 + i) for i, view in enumerate(VIEWS)}


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
def test_gates_and_what_they_let_through_written_out_row_by_row(gate: str) -> None:
    fusion, tokens = _made(gate)
    z, gates = fusion(tokens, PRESENT), fusion.gates(tokens, PRESENT)
    for row in range(SIZE):
        means = [row_tokens(tokens[view], row).mean(0) * PRESENT[row, column] for view, column in VIEWS.items()]
        there = [i for i, column in enumerate(VIEWS.values()) if PRESENT[row, column]]
        logit = fusion.gate(torch.cat([*means, PRESENT[row].float()]))[there]
        expected = logit.sigmoid() if gate == "sigmoid" else logit.softmax(0)
        torch.testing.assert_close(gates[row, there], expected)
        assert (gates[row].sum() == gates[row, there].sum()).item()
        said = sum((expected[k] * fusion.maps[i](means[i]) for k, i in enumerate(there)), torch.zeros(WIDTH))
        torch.testing.assert_close(z[row], said if there else fusion.empty)


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
def test_a_gate_can_learn_when_a_view_is_to_be_believed(gate: str) -> None:
    """View b says in its second entry whether view a's first entry is the outcome or its opposite is: no fixed weights can tell."""
    with seeded(2):
        a, b = torch.randn(512, 4), torch.randn(512, 4)
        fusion, head = Gated(views={"a": 0, "b": 1}, n_evidences=2, d_model=4, gate=gate, prior_scale=10.0), torch.nn.Linear(4, 1)
    outcome = a[:, 0] * (b[:, 1] > 0)
    tokens = {"a": Tokens(a, torch.arange(513)), "b": Tokens(b, torch.arange(513))}
    present = torch.ones(512, 2, dtype=torch.bool)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.03)
    for _ in range(150):
        loss = (head(fusion(tokens, present))[:, 0] - outcome).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # The best linear prediction, half of a's first entry, leaves .25; a gate leaves little.
    assert loss.item() < 0.1


def test_another_gate_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"fusion.gate is 'hard'.*softmax, sigmoid"):
        _made("hard")
