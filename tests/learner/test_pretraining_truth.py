"""Where codes belong together, pretraining on people without outcomes finds it, and few outcomes then suffice; where they do not, it does no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.batches import Batches, open_views
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.init_from import of_split, with_content
from equipoise.learner.estimate import Trainings
from equipoise.learner.monitor import Monitor
from equipoise.learner.pretrain import pretrain
from equipoise.learner.train import train_member
from equipoise.model import Model
from equipoise.testing.discovery import options
from learner.pretraining_world import FEW, MANY, UNLABELLED, topics_cohort
from small_config import small_config


def losses(folder: Path, encoder: str, pretext: str, *, shared: bool, seed: int) -> dict[str, float]:
    """Held-out nll, nats, of a model from scratch and of one whose encoder was pretrained on another cohort of 2,000 people without outcomes."""
    unlabelled = topics_cohort(folder / "unlabelled", UNLABELLED, seed=seed, shared=shared)
    cohort = topics_cohort(folder / "labelled", FEW if shared else MANY, seed=seed, shared=shared)
    split = Split.of(cohort)
    first = config(encoder, learner__max_epochs=20, learner__patience=5, optimizer__lr=0.01) | {"pretext": options("pretext")[pretext]}
    alone = Trainings(folds=1, grid=0, inner_folds=0, members=1)
    pretrain(first, unlabelled, Split.of(unlabelled), seed=0, folder=folder / "pretrained", trainings=alone, loggers=[])
    own = config(encoder, learner__max_epochs=60, learner__patience=15, optimizer__lr=0.005, learner__batch_size=16 if shared else 64)
    own["modality"]["ehr"]["min_count"] = 1
    given = with_content({**own, "init_from": str(folder / "pretrained")})
    found = {}
    for name, made in (("scratch", own), ("pretrained", of_split(given, cohort, split, "held_out", repeat=0, fold=0)[0])):
        found[name] = held_out_nll(train_member(made, cohort, split, seed=0, folder=folder / name / "member_0", loggers=[]), cohort)
    print(f"{encoder}, {pretext}, shared {shared}, seed {seed}: " + ", ".join(f"{k} {v:.4f}" for k, v in found.items()))
    return found


def config(encoder: str, **values: Any) -> dict[str, Any]:
    made = small_config(views=("ehr",), **values)
    made["modality"]["ehr"]["encoder"] = options("encoder")[encoder]
    return made | {"d_model": 16}


def held_out_nll(path: Path, cohort: Cohort) -> float:
    model = Model.load(path)
    batches = Batches(open_views(model.views, cohort), {"ehr": "ehr"}, model.network.evidences, targets={"risk": cohort.target("outcome")})
    monitor = Monitor(model.network, 16, 0)
    for rows in np.array_split(Split.of(cohort).held_out, 6):
        monitor.add(batches(rows))
    return monitor.result()["select/nll"]


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "pretext"), [("gru", "next_event"), ("transformer", "time_to_codes")])
def test_what_codes_have_in_common_is_learnt_without_outcomes(tmp_path: Path, encoder: str, pretext: str) -> None:
    """80 outcomes teach nothing of 100 codes (.69 is chance); with the topics known they teach nearly all (.37 is the truth's own)."""
    for seed in range(3):
        found = losses(tmp_path / str(seed), encoder, pretext, shared=True, seed=seed)
        assert found["pretrained"] < found["scratch"] - 0.15, seed


@pytest.mark.slow
def test_where_codes_have_nothing_in_common_it_does_little_harm(tmp_path: Path) -> None:
    """1,000 outcomes; nothing of the codes can be learnt without them."""
    both = [losses(tmp_path / str(seed), "gru", "next_event", shared=False, seed=seed) for seed in range(3)]
    assert all(b["scratch"] < 0.65 for b in both), "there is something to learn, and to spoil"
    change = [b["pretrained"] - b["scratch"] for b in both]
    assert float(np.mean(change)) < 0.03
    assert max(change) < 0.06
