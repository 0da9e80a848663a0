from __future__ import annotations

import csv
import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.assemble import assemble, fit_views
from equipoise.batches import Batches, at_rows, evidences_of, open_views
from equipoise.cohort.frozen import Cohort, freeze
from equipoise.cohort.split import Split
from equipoise.contract.counter import stream_seed
from equipoise.contract.errors import UserError
from equipoise.contract.tensors import Draws
from equipoise.head.laplace import LaplaceHead
from equipoise.learner.course import Course
from equipoise.learner.estimate import Trainings, duration, estimate, trainings_of
from equipoise.learner.loggers import Logger
from equipoise.learner.module import Learner, make_optimizer
from equipoise.learner.monitor import Monitor, base_rate_nll, mixture_nll
from equipoise.learner.schedule import Constant, Cosine
from equipoise.learner.train import train_member
from equipoise.model import Model
from equipoise.network import Network
from equipoise.nuisance import CrossFits
from equipoise.testing.cohorts import tiny_cohort, tiny_draft
from equipoise.tune import tuned
from parts_for_tests import BoundedEncoder
from small_config import small_config

HERE = "parts_for_tests"
NOBODY = np.empty(0, np.int64)


class Listener(Logger):
    def __init__(self) -> None:
        self.heard: list[tuple[int | None, dict[str, float]]] = []

    def open(self, config: Any, folder: Path) -> None:
        pass

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.heard.append((step, dict(metrics)))

    def close(self, exit_code: int) -> None:
        pass


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return tiny_cohort(tmp_path_factory.mktemp("train") / "cohort", n=600)


def quick(**values: Any) -> dict[str, Any]:
    return small_config(views=("clinical", "biomarker"), **{"learner__max_epochs": 3, **values})


def network_of(config: dict[str, Any], cohort: Cohort) -> tuple[Network, Batches]:
    rows = cohort.rows_in("train")
    views = fit_views(config, cohort, rows)
    targets = {name: cohort.target(node["target"]) for name, node in config["task"].items()}
    network = assemble(config, views, {k: at_rows(t, rows) for k, t in targets.items()}, seed=0)
    return network, Batches(open_views(views, cohort), {k: v.evidence for k, v in views.items()}, evidences_of(views), targets=targets)


def test_a_member_learns_keeps_its_best_epoch_and_leaves_three_files(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listener = Listener()
    config = quick(head="point", learner__max_epochs=25, learner__patience=3, optimizer__lr=0.02)
    path = train_member(config, cohort, Split.of(cohort), seed=0, folder=tmp_path / "run" / "member_0", loggers=[listener])
    assert sorted(p.name for p in path.parent.iterdir()) == ["history.json", "metrics.csv", "model.pt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"], "something was written into the working directory"
    history = json.loads((path.parent / "history.json").read_text())
    losses = history["select_loss"]
    assert history["epochs"] == len(losses) == len(history["train_loss"])
    assert history["best_epoch"] == int(np.argmin(losses))
    assert history["epochs"] == history["best_epoch"] + 1 + 3, "patience 3 stops three epochs after the best"
    assert min(losses) < history["base_select_loss"] - 0.03
    assert history["n_parameters"] == Model.load(path).network.n_parameters()
    # The saved weights are those of the best epoch: their select/nll is found again.
    model = Model.load(path)
    batches = Batches(
        open_views(model.views, cohort),
        {k: v.evidence for k, v in model.views.items()},
        model.network.evidences,
        targets={"risk": cohort.target("outcome")},
    )
    learner = Learner(
        model.network,
        Course(),
        watch=Monitor(model.network, int(config["learner"]["select_draws"]), stream_seed("select", 0)),
        optimizer=config["optimizer"],
        schedule=Constant(warmup_epochs=0.0),
        settings=config["learner"],
        n_train=1,
        n_batches=1,
        seed=0,
    )
    learner.validation_step(batches(Split.of(cohort).select), 0)
    learner.on_validation_epoch_end()
    assert learner.select["select/nll"] == pytest.approx(min(losses), abs=1e-6)
    assert learner.select["select/auroc"] > 0.6
    lines = list(csv.DictReader((path.parent / "metrics.csv").read_text().splitlines()))
    assert [float(line["select/nll"]) for line in lines] == pytest.approx(losses)
    assert [step for step, _ in listener.heard] == list(range(history["epochs"]))
    assert {"train/nll", "train/loss", "train/kl", "select/nll", "select/auroc"} == set(listener.heard[0][1])


def test_a_finished_member_is_not_trained_again_and_another_one_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    folder, split = tmp_path / "member_0", Split.of(cohort)
    path = train_member(quick(), cohort, split, seed=0, folder=folder, loggers=[])
    before = path.stat().st_mtime_ns
    assert train_member(quick(learner__predict_draws=3, trainer__num_workers=2), cohort, split, seed=0, folder=folder, loggers=[]) == path
    assert path.stat().st_mtime_ns == before
    fewer = replace(split, train=split.train[1:])
    for config, rows, seed in ((quick(optimizer__lr=0.1), split, 0), (quick(), split, 1), (quick(), fewer, 0)):
        with pytest.raises(UserError, match="holds a member of another config, cohort or seed"):
            train_member(config, cohort, rows, seed=seed, folder=folder, loggers=[])


def test_equal_seeds_give_equal_weights_and_others_do_not(cohort: Cohort, tmp_path: Path) -> None:
    split = Split.of(cohort)
    torch.manual_seed(1)
    hashes = []
    for i, seed in enumerate((0, 0, 1)):
        torch.rand(i + 1)  # whatever the process has drawn before is of no account
        model = Model.load(train_member(quick(), cohort, split, seed=seed, folder=tmp_path / f"member_{i}", loggers=[]))
        hashes.append(torch.cat([p.reshape(-1) for p in model.network.parameters()]))
    assert torch.equal(hashes[0], hashes[1])
    assert not torch.equal(hashes[0], hashes[2])


def test_without_select_rows_every_epoch_is_run_and_the_last_weights_are_kept(cohort: Cohort, tmp_path: Path) -> None:
    split = replace(Split.of(cohort), select=NOBODY)
    path = train_member(quick(learner__patience=1), cohort, split, seed=0, folder=tmp_path / "m", loggers=[])
    history = json.loads((path.parent / "history.json").read_text())
    assert (history["epochs"], history["best_epoch"], history["select_loss"], history["base_select_loss"]) == (3, 2, [], None)


def test_training_a_point_head_on_every_task_at_once(cohort: Cohort, tmp_path: Path) -> None:
    tasks = ("risk", "multiclass", "regression", "time_to_event", "treatment_effect")
    config, split = small_config(views=("clinical",), tasks=tasks, head="point", learner__max_epochs=2), Split.of(cohort)
    path = train_member(config, cohort, split, seed=0, folder=tmp_path / "m", loggers=[], pseudo=CrossFits(cohort).of(config, split, tmp_path / "m"))
    lines = list(csv.DictReader((path.parent / "metrics.csv").read_text().splitlines()))
    own = [float(lines[-1][f"select/nll.{task}"]) for task in tasks]
    assert float(lines[-1]["select/nll"]) == pytest.approx(sum(own))
    assert {"select/auroc.risk", "select/accuracy.multiclass", "select/pearson_r.regression", "select/effect_loss.treatment_effect"} <= set(lines[-1])


def test_a_role_without_any_observed_outcome_is_refused(tmp_path: Path) -> None:
    draft = tiny_draft(n=60)
    select = (draft.rows["role"] == "select").to_numpy()
    table = draft.targets["outcome"].table
    draft.targets["outcome"].table = table.with_columns(
        outcome=np.where(select, np.nan, table["outcome"].to_numpy()), observed=table["observed"].to_numpy() & ~select
    )
    cohort = freeze(draft, tmp_path / "cohort", "x", {})
    with pytest.raises(UserError, match=r"No select row has an observed outcome of task 'risk'.*Found: \d+ select rows"):
        train_member(quick(), cohort, Split.of(cohort), seed=0, folder=tmp_path / "m", loggers=[])
    assert not (tmp_path / "m").exists()


def test_a_training_that_diverges_says_so(cohort: Cohort, tmp_path: Path) -> None:
    config = quick(optimizer__lr=1e30, learner__clip_norm=None)
    with pytest.raises(UserError, match=r"Training diverged.*optimizer\.lr"):
        train_member(config, cohort, Split.of(cohort), seed=0, folder=tmp_path / "m", loggers=[])
    assert not (tmp_path / "m" / "model.pt").exists()


def test_learning_nothing_is_said(cohort: Cohort, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tight = dict.fromkeys(("modality__clinical__encoder__prior_scale", "modality__biomarker__encoder__prior_scale", "fusion__prior_scale"), 0.01)
    with caplog.at_level(logging.INFO, logger="equipoise"):
        logging.getLogger("equipoise").propagate = True
        train_member(quick(**tight), cohort, Split.of(cohort), seed=0, folder=tmp_path / "m", loggers=[])
    assert "no better than the base rate" in caplog.text
    assert "parameters; " in caplog.text


def test_the_base_rate_is_the_loss_of_the_train_prevalence(cohort: Cohort) -> None:
    network, batches = network_of(quick(), cohort)
    rows = cohort.rows_in("select")
    table = cohort.target("outcome").table
    p = network.task("risk").state()["prevalence"]
    y = table[rows].filter(table[rows]["observed"])["outcome"].to_numpy()
    assert base_rate_nll(network, [batches(rows)]) == pytest.approx(-(y * math.log(p) + (1 - y) * math.log(1 - p)).mean(), rel=1e-6)


@torch.no_grad()
def test_the_mixtures_loss_is_that_of_the_mean_likelihood(cohort: Cohort) -> None:
    network, batches = network_of(quick(), cohort)
    batch = batches(np.arange(40))
    target = replace(batch.targets["risk"], weight=torch.linspace(0, 2, 40))
    draws = Draws(torch.randn(7, 40, 1, generator=torch.Generator().manual_seed(0)) * 3)
    p = torch.sigmoid(draws.value[..., 0].double()).mean(0)
    y = torch.nan_to_num(target.outcome.double())
    expected = torch.where(target.observed, -target.weight * torch.log(torch.where(y == 1, p, 1 - p)), 0.0)
    found = mixture_nll(network.task("risk"), draws, target)
    assert torch.allclose(found.double(), expected, atol=1e-5)
    mean_of_losses = network.task("risk").loss(draws, target)
    assert (found <= mean_of_losses + 1e-6).all()


def test_every_part_has_its_own_learning_rate_and_no_weight_decay(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_ALLOW", HERE)
    config = quick()
    config["modality"]["clinical"]["encoder"] = {"_target_": f"{HERE}.BoundedEncoder"}
    network, _ = network_of(config, cohort)
    assert isinstance(network.encoders["clinical"], BoundedEncoder)
    optimizer = make_optimizer({"_target_": "torch.optim.AdamW", "lr": 0.01}, network)
    rates = {g["name"]: g["lr"] for g in optimizer.param_groups}
    other = 0.01 * float(getattr(network.encoders["biomarker"], "lr_scale", 1.0))
    assert rates == pytest.approx({"encoder.clinical": 0.001, "encoder.biomarker": other, "fusion": 0.01, "head": 0.01})
    assert {g["weight_decay"] for g in optimizer.param_groups} == {0.0}
    assert sum(p.numel() for g in optimizer.param_groups for p in g["params"]) == network.n_parameters()
    with pytest.raises(UserError, match=r"weight_decay.*prior_scale"):
        make_optimizer({"_target_": "torch.optim.Adam", "lr": 0.01, "weight_decay": 1e-4}, network)
    with pytest.raises(UserError, match="no learning rate"):
        make_optimizer({"_target_": "torch.optim.Adam"}, network)


def test_estimating_changes_nothing_and_counts_what_there_is(cohort: Cohort) -> None:
    from equipoise.data import CohortData, FetchRows

    config = quick(members=4, learner__max_epochs=10)
    network, batches = network_of(config, cohort)
    split = Split.of(cohort)
    data = CohortData(
        FetchRows(batches, dropout=np.zeros(2), seed=0),
        split.train,
        split.select,
        batch_size=64,
        select_batch_size=256,
        seed=0,
        num_workers=0,
        pin_memory=False,
    )
    learner = Learner(
        network,
        Course(),
        watch=Monitor(network, int(config["learner"]["select_draws"]), stream_seed("select", 0)),
        optimizer=config["optimizer"],
        schedule=Constant(warmup_epochs=0.0),
        settings=config["learner"],
        n_train=1,
        n_batches=data.n_batches,
        seed=0,
    )
    weights, stream = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    found = estimate(config, learner, data, torch.device("cpu"), Trainings(folds=5, grid=3, inner_folds=3, members=4))
    assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(p.grad is None for p in network.parameters())
    assert found.n_parameters == network.n_parameters()
    assert found.steps == math.ceil(split.train.size / 64)
    assert found.upper_seconds == pytest.approx(found.epoch_seconds * 10 * 65)
    assert found.memory_bytes > 50 * 2**20
    assert "(65 trainings: 5 folds x (3 grid points x 3 inner folds + 4 members); 10 epochs each), comparators and predictions not included" in found.sentence()
    assert duration(90.0) == "1.5 min"


def test_the_trainings_of_a_run_are_counted_from_its_config_its_folds_and_where_it_stands(cohort: Cohort, tmp_path: Path) -> None:
    config = quick(members=3) | {"tune": {"folds": 2, "grid": {"optimizer.lr": [0.1, 0.2], "d_model": [4, 8, 16]}}}
    config["validation"] |= {"folds": "given", "repeats": [0, 1]}
    in_fold = tmp_path / "fold_0_1"
    whole = Trainings(folds=8, grid=6, inner_folds=2, members=3)  # the cohort has 2 repeats of 4 folds
    assert trainings_of(config, cohort, in_fold / "tune" / "03_1") == whole
    assert whole.total == 8 * (6 * 2 + 3)
    assert trainings_of(config, cohort, in_fold / "member_0") == Trainings(8, 0, 0, 3), "nothing was tuned there"
    in_fold.mkdir()
    (in_fold / "tune.json").touch()
    assert trainings_of(config, cohort, in_fold / "member_0") == whole
    assert trainings_of(config, cohort, tmp_path / "member_2") == Trainings(1, 0, 0, 3), "`equipoise train` has neither folds nor tuning"
    assert trainings_of(config, cohort, tmp_path / "tune" / "00_0") == Trainings(1, 6, 2, 3)


def test_as_many_trainings_are_done_as_were_counted(cohort: Cohort, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = small_config(learner__max_epochs=1, members=2) | {"tune": {"folds": 2, "grid": {"optimizer.lr": [0.01, 0.1]}}}
    split = Split.of(cohort)
    with caplog.at_level(logging.INFO, logger="equipoise"):
        logging.getLogger("equipoise").propagate = True
        chosen, _ = tuned(config, cohort, np.sort(np.concatenate([split.train, split.select])), tmp_path)
        for i in range(2):
            train_member(chosen, cohort, split, seed=i, folder=tmp_path / f"member_{i}", loggers=[])
    said = [r.getMessage() for r in caplog.records if "steps an epoch" in r.getMessage()]
    assert len(said) == len(list(tmp_path.rglob("model.pt"))) == 6
    assert all("6 trainings: 2 grid points x 2 inner folds + 2 members" in line for line in said)


def test_tuning_for_a_fit_that_never_stops_early_reads_the_last_epoch(cohort: Cohort, tmp_path: Path) -> None:
    config = small_config(learner__max_epochs=6, learner__patience=1) | {"tune": {"folds": 2, "grid": {"optimizer.lr": [0.05]}}}
    split = Split.of(cohort)
    rows = np.sort(np.concatenate([split.train, split.select]))
    for stops in (True, False):
        _, record = tuned(config, cohort, rows, tmp_path / str(stops), stops=stops)
        found = [json.loads((tmp_path / str(stops) / "tune" / f"00_{i}" / "history.json").read_text())["select_loss"] for i in range(2)]
        assert record["tried"][0]["per_fold"] == [min(losses) if stops else losses[-1] for losses in found]
        assert stops or [len(losses) for losses in found] == [6, 6]
        assert any(min(losses) < losses[-1] for losses in found)


def test_after_training_a_head_is_fitted_to_all_train_rows(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_ALLOW", HERE)
    config = small_config(tasks=("risk", "multiclass"), learner__max_epochs=1)
    config["head"] = {"_target_": f"{HERE}.DistanceHead"}
    split = Split.of(cohort)
    model = Model.load(train_member(config, cohort, split, seed=0, folder=tmp_path / "m", loggers=[]))
    head = model.network.head
    assert float(head.n) == cohort.rows["subject_id"][split.train].n_unique(), "rows of one subject count once"
    assert head.precision.shape == (4, 4)
    assert (head.precision[0, 1:] == 0).all(), "two tasks' blocks are apart"
    # One logit's Hessian is at most 1/4 for each row whose outcome is observed.
    observed = int(cohort.target("outcome").table[split.train]["observed"].sum())
    assert 0 < float(head.precision[0, 0]) <= observed / 4


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_head_is_fitted_to_rows_as_training_shows_them(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropout: float) -> None:
    """Or it would know nothing of a row without an evidence that every train row has, and its draws there would be wild."""
    fitted: list[torch.Tensor] = []
    fit = LaplaceHead.fit

    def noted(self: LaplaceHead, z: torch.Tensor, *further: Any) -> None:
        fitted.append(z)
        fit(self, z, *further)

    monkeypatch.setattr(LaplaceHead, "fit", noted)
    config = quick(head="laplace", learner__evidence_dropout=dropout, learner__max_epochs=1)
    model = Model.load(train_member(config, cohort, Split.of(cohort), seed=0, folder=tmp_path / "m", loggers=[]))
    rows = Split.of(cohort).train
    batches = Batches(open_views(model.views, cohort), {k: v.evidence for k, v in model.views.items()}, model.network.evidences, targets={})
    with torch.no_grad():
        whole = model.network.encode(batches(rows))
    same = float(torch.isclose(fitted[0], whole, atol=1e-4).all(1).float().mean())
    assert same == 1.0 if dropout == 0 else 0.1 < same < 0.7


def test_schedules_stay_between_nothing_and_one_and_warm_up() -> None:
    for schedule in (Constant(warmup_epochs=2.0), Cosine(warmup_epochs=2.0, final=0.1)):
        factors = [schedule(t / 10, 20) for t in range(0, 201)]
        assert factors[0] == 0.0
        assert factors[:21] == sorted(factors[:21])
        assert max(factors) == 1.0
        assert min(factors) >= 0.0
    assert Cosine(warmup_epochs=0.0, final=0.1)(20.0, 20) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"trainer__devices": 2}, r"trainer\.devices is 2"),
        ({"trainer__accelerator": "abacus"}, r"'abacus'"),
        ({"trainer__precision": "16-true"}, r"trainer\.precision"),
        ({"learner__evidence_dropout": {"ehr": 0.5}}, r"evidence_dropout names ehr"),
    ],
)
def test_what_the_trainer_cannot_do_is_refused_before_anything_is_written(cohort: Cohort, tmp_path: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        train_member(quick(**values), cohort, Split.of(cohort), seed=0, folder=tmp_path / "m", loggers=[])
    assert not (tmp_path / "m").exists()


def test_subjects_and_not_rows_are_weighed_against_the_priors(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the subjects have two prediction times: the KL and a Laplace head's n count each subject once."""
    told: list[tuple[int, int]] = []

    def fit(self: LaplaceHead, z: torch.Tensor, hessian: object, n: int, nll: object) -> None:
        told.append((len(z), n))

    monkeypatch.setattr(LaplaceHead, "fit", fit)
    split = Split.of(cohort)
    seen = split.train[cohort.target("outcome").table["observed"].to_numpy()[split.train]]
    subjects = cohort.rows["subject_id"][seen].n_unique()
    path = train_member(quick(head="laplace"), cohort, split, seed=0, folder=tmp_path / "m", loggers=[])
    assert Model.load(path).facts["n_train"] == subjects < 0.97 * seen.size
    ((rows, n),) = told
    assert rows == split.train.size
    assert n == round(rows * subjects / seen.size)
