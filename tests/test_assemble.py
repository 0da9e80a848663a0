from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.assemble import assemble, fit_views
from equipoise.batches import Batches, at_rows, evidences_of, open_views
from equipoise.cohort.frozen import Cohort
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Batch
from equipoise.model import Model, digest, plain
from equipoise.network import Network
from equipoise.testing.cohorts import tiny_cohort
from equipoise.testing.discovery import options
from parts_for_tests import Eavesdropper
from small_config import small_config

ALL_VIEWS = ("ehr", "ehr_summary", "genotype", "biomarker", "lifestyle", "clinical")
ALL_TASKS = ("risk", "multiclass", "regression", "time_to_event", "treatment_effect")
HERE = "parts_for_tests"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("assemble") / "cohort")


def built(config: dict[str, Any], cohort: Cohort, seed: int = 0) -> tuple[Network, Batches, dict[str, Any]]:
    rows = cohort.rows_in("train")
    views = fit_views(config, cohort, rows)
    targets = {name: cohort.target(node["target"]) for name, node in config["task"].items()}
    network = assemble(config, views, {k: at_rows(t, rows) for k, t in targets.items()}, seed=seed)
    batches = Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets)
    return network.eval(), batches, views


def test_a_network_of_every_view_and_every_task_knows_its_dimensions(cohort: Cohort) -> None:
    network, batches, _ = built(small_config(views=ALL_VIEWS, tasks=ALL_TASKS), cohort)
    rows = np.arange(17)
    draws = network(batches(rows), n_draws=3, seed=0)
    assert network.evidences == ("ehr", "genotype", "biomarker", "lifestyle", "clinical")
    assert {name: tuple(d.value.shape) for name, d in draws.items()} == {name: (3, 17, network.task(name).n_params) for name in ALL_TASKS}
    assert [q.task for q in network.questions()] == list(ALL_TASKS)
    assert all(torch.isfinite(d.value).all() for d in draws.values())


def test_a_row_without_anything_has_a_finite_answer_and_counts_as_absent(cohort: Cohort) -> None:
    network, batches, _ = built(small_config(views=ALL_VIEWS), cohort)
    batch = batches(np.array([0]))  # row 0 has nothing
    assert not batch.present.any()
    assert torch.isfinite(network(batch, n_draws=2, seed=0)["risk"].value).all()


@torch.no_grad()
def test_the_loss_is_the_weighted_mean_of_observed_rows_and_the_priors_over_n(cohort: Cohort) -> None:
    network, batches, _ = built(small_config(views=("clinical", "biomarker"), tasks=("risk", "regression")), cohort)
    batch = batches(cohort.rows_in("train")[:24])
    weight = torch.linspace(0.5, 2.0, batch.size)
    observed = torch.arange(batch.size) % 3 != 0
    targets = {k: type(t)(**{**vars(t), "weight": weight, "observed": t.observed & observed}) for k, t in batch.targets.items()}
    batch = Batch(batch.parts, batch.present, targets, batch.row_id)
    losses = network.loss(batch, n_train=50, n_draws=2, seed=3, beta=0.5)
    draws = network(batch, n_draws=2, seed=3)
    expected = {}
    for name, target in targets.items():
        own = network.task(name).loss(draws[name], target)
        seen = target.observed
        expected[name] = float((own[seen]).sum() / target.weight[seen].sum())
    prior = 0.5 * float(network.head.kl()) + sum(float(p.penalty()) for p in network.parts().values())
    assert {k: float(v) for k, v in losses.nll.items()} == pytest.approx(expected, rel=1e-5)
    assert float(losses.total) == pytest.approx(sum(expected.values()) + prior / 50, rel=1e-5)


@torch.no_grad()
def test_a_batch_without_any_outcome_has_the_priors_loss_alone(cohort: Cohort) -> None:
    network, batches, _ = built(small_config(), cohort)
    batch = batches(np.array([2, 3]))
    target = batch.targets["risk"]
    blind = type(target)(**{**vars(target), "observed": torch.zeros(2, dtype=torch.bool), "outcome": torch.full((2,), float("nan"))})
    losses = network.loss(Batch(batch.parts, batch.present, {"risk": blind}, batch.row_id), n_train=10, n_draws=1, seed=0, beta=1.0)
    assert float(losses.nll["risk"]) == 0.0
    assert torch.isfinite(losses.total)


def test_adding_a_view_does_not_change_where_the_others_start(cohort: Cohort) -> None:
    fewer, _, _ = built(small_config(views=("biomarker", "clinical")), cohort)
    more, _, _ = built(small_config(views=("ehr", "biomarker", "genotype", "clinical")), cohort)
    for view in ("biomarker", "clinical"):
        ours, theirs = fewer.encoders[view].state_dict(), more.encoders[view].state_dict()
        assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_the_start_is_a_function_of_the_seed_and_leaves_torchs_stream_alone(cohort: Cohort) -> None:
    config = small_config()
    before = torch.get_rng_state()
    a, b, other = (built(config, cohort, seed)[0].state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert any(not torch.equal(a[k], other[k]) for k in a)


def test_views_never_see_outcomes_outside_of_the_train_rows(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_ALLOW", HERE)
    config = small_config()
    config["modality"]["clinical"]["_target_"] = f"{HERE}.Eavesdropper"
    Eavesdropper.heard.clear()
    rows = cohort.rows_in("train")
    fit_views(config, cohort, rows)
    heard = Eavesdropper.heard[0]
    assert heard is not None
    outside = np.setdiff1d(np.arange(cohort.size), rows)
    whole = cohort.target("outcome").table
    assert heard.table[outside]["outcome"].is_nan().all()
    assert not heard.table[outside]["observed"].any()
    assert heard.table[rows].equals(whole[rows], null_equal=True)


def test_an_encoder_of_another_part_is_refused_by_name(cohort: Cohort) -> None:
    config = small_config(views=("clinical", "ehr"))
    config["modality"]["clinical"]["encoder"] = config["modality"]["ehr"]["encoder"]
    with pytest.raises(UserError, match=r"modality\.clinical\.encoder is Gru, which takes Events.*Vector"):
        built(config, cohort)


@pytest.mark.parametrize(("group", "value", "said"), [("modality", {}, "no modality"), ("task", {}, "no task")])
def test_a_config_without_views_or_tasks_is_refused(cohort: Cohort, group: str, value: dict[str, Any], said: str) -> None:
    config = small_config() | {group: value}
    with pytest.raises(UserError, match=said):
        built(config, cohort)


def test_a_part_of_another_room_is_refused(cohort: Cohort) -> None:
    config = small_config()
    config["fusion"] = {"_target_": "torch.nn.Identity", "views": 1}
    with pytest.raises(UserError, match="fusion"):
        built(config, cohort)


def test_a_head_that_reads_a_sum_is_refused_behind_anything_else(cohort: Cohort) -> None:
    config = small_config(views=("clinical", "genotype"), head="identity")
    with pytest.raises(UserError, match=r"IdentityHead.*sum of views, and Concat is none.*fusion=additive"):
        built(config, cohort)
    config["fusion"] = options("fusion")["additive"] | {"mapped": False, "residual": False}
    assert built(config, cohort)[0].head.needs_sum
    config["task"] |= small_config(tasks=("multiclass",))["task"]
    with pytest.raises(UserError, match=r"View genotype speaks to 1 of the \d parameters.*n_scores.*mapped=true"):
        built(config, cohort)
    config["fusion"]["mapped"] = True
    built(config, cohort)


def largest_singular_value(weight: torch.Tensor) -> float:
    return float(torch.linalg.svdvals(weight.detach())[0])


def test_a_head_that_needs_distances_gets_bounded_fusion_and_encoders_that_allow_it(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_ALLOW", HERE)
    config = small_config(views=("clinical", "biomarker", "ehr"), fusion__layers=1)
    config["head"] = {"_target_": f"{HERE}.DistanceHead"}
    config["modality"]["clinical"]["encoder"] = {"_target_": f"{HERE}.BoundedEncoder"}
    network, batches, _ = built(config, cohort)
    network.train()
    for _ in range(30):  # power iteration
        network(batches(np.arange(8)), n_draws=1, seed=0)
    network.eval()
    assert largest_singular_value(network.encoders["clinical"].linear.weight) == pytest.approx(1.0, abs=0.05)
    assert all(largest_singular_value(m.weight) <= 1.05 for m in network.fusion.modules() if isinstance(m, torch.nn.Linear))
    bounded = {view for view, encoder in network.encoders.items() for m in encoder.modules() if hasattr(m, "parametrizations")}
    assert bounded == {view for view, encoder in network.encoders.items() if encoder.lipschitz is not None}
    assert "ehr" not in bounded


def test_a_model_gives_the_same_draws_after_saving(cohort: Cohort, tmp_path: Path) -> None:
    config = small_config(views=ALL_VIEWS, tasks=ALL_TASKS)
    network, batches, views = built(config, cohort)
    model = Model.of(config, views, network, {"seed": 0})
    model.save(tmp_path / "model.pt")
    loaded = Model.load(tmp_path / "model.pt")
    own = Batches(open_views(loaded.views, cohort), {k: v.evidence for k, v in loaded.views.items()}, loaded.network.evidences, targets={})
    rows = np.arange(30)
    ours, theirs = network(batches(rows), n_draws=3, seed=1), loaded.network(own(rows), n_draws=3, seed=1)
    assert all(torch.equal(ours[k].value, theirs[k].value) for k in ours)
    assert loaded.hash() == model.hash()
    assert loaded.questions == model.questions
    assert loaded.facts == {"seed": 0}


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    "text": lambda p: p.write_text("not a model"),
    "empty": lambda p: p.write_bytes(b""),
    "foreign": lambda p: torch.save({"weights": torch.zeros(3)}, p),
    "code": lambda p: torch.save({"kind": "equipoise.model", "state": Path("x")}, p),
    "other format": lambda p: torch.save({"kind": "equipoise.model", "format": 99, "version": "9", "state": {}}, p),
    "missing": lambda p: p.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_model_file_is_named(cohort: Cohort, tmp_path: Path, damage: str) -> None:
    config = small_config()
    network, _, views = built(config, cohort)
    path = tmp_path / "model.pt"
    Model.of(config, views, network, {}).save(path)
    DAMAGES[damage](path)
    with pytest.raises(UserError, match=r"model\.pt"):
        Model.load(path)


def test_a_state_that_would_not_load_is_refused_before_it_is_written(tmp_path: Path) -> None:
    assert plain({"a": np.float64(1.5), "b": (1, 2)}) == {"a": 1.5, "b": [1, 2]}
    with pytest.raises(TypeError, match=r"state\.a\[1\]\.b is a ndarray"):
        plain({"a": [0, {"b": np.zeros(2)}]})


def test_a_digest_sees_every_bit_and_no_order() -> None:
    state = {"a": torch.tensor([1.0, 2.0]), "b": {"c": [1, "x", None]}}
    assert digest(state) == digest({"b": {"c": [1, "x", None]}, "a": torch.tensor([1.0, 2.0])})
    others = [{**state, "a": torch.tensor([1.0, 2.0000002])}, {**state, "a": torch.tensor([[1.0, 2.0]])}, {**state, "b": {"c": [1, "x", 0]}}]
    assert len({digest(s) for s in [state, *others]}) == 4
