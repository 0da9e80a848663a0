"""Pretrains one encoder of events on people's records alone: no outcome is read."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import polars as pl
import torch

from equipoise.assemble import connect_pretext, make_pretext, make_pretrainable
from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.contract.make import make
from equipoise.contract.tensors import Rewound
from equipoise.data import chunks, epoch_batches
from equipoise.learner.course import Course, weights_of
from equipoise.learner.device import device_of
from equipoise.learner.epochs import cohort_data, say_end, select_batch, train_through
from equipoise.learner.estimate import Trainings
from equipoise.learner.loggers import Logger
from equipoise.learner.module import Learner
from equipoise.learner.monitor import Watch
from equipoise.learner.rewind import FetchRewound
from equipoise.modality import Pretrainable, Rewindable
from equipoise.model import digest
from equipoise.pretext import Pretext
from equipoise.pretext_network import PretextNetwork
from equipoise.pretrained import FILE, People, Pretrained
from equipoise.record import write_json

log = logging.getLogger("equipoise.learner")

_DECIDES = ("d_model", "pretext", "learner", "optimizer", "scheduler")
_DECIDES_NOT = ("checkpoint_minutes", "train_draws", "select_draws", "predict_draws", "evidence_dropout", "beta")
_BASE_MOMENTS = 4096
"""Moments from which the base rates are read."""


@final
class WatchPretext(Watch):
    """``select/nll``: the mean over select rows' moments.

    Args:
        network: whose loss it is.
    """

    def __init__(self, network: PretextNetwork) -> None:
        self._network, self._sum, self._n = network, 0.0, 0

    @torch.no_grad()
    def add(self, batch: Rewound) -> None:
        self._sum += float(self._network(batch).double().sum())
        self._n += batch.size

    def result(self) -> dict[str, float]:
        mean = self._sum / max(self._n, 1)
        self._sum, self._n = 0.0, 0
        return {"select/nll": mean}


def pretrain(config: Mapping[str, Any], cohort: Cohort, split: Split, *, seed: int, folder: Path, trainings: Trainings, loggers: Sequence[Logger]) -> Path:
    """Pretrains the encoder of the config's view of events and writes ``folder/pretrained.pt``, with its course in ``folder/pretraining/``.

    Train rows teach, select rows choose the epoch, each subject by the last of its rows that has a past, so that its events count once. A finished
    pretraining is skipped, an interrupted one goes on to the weights that it would have had.

    Args:
        config: resolved; its tasks are not looked at.
        cohort: with or without outcomes.
        split: rows of other roles are not read.
        seed: the run's.
        folder: the split's.
        trainings: of the whole command, for the estimate of its time.
        loggers: are told of each epoch.

    Raises:
        UserError: no view can be pretrained, no train row has a past, or the folder holds another pretraining.
        KeyboardInterrupt: the user stopped; the checkpoint is written.
    """
    path, at, stamp = folder / FILE, folder / "pretraining", _stamp(config, cohort, split, seed)
    if path.is_file():
        if Pretrained.load(path).facts.get("stamp") != stamp:
            raise UserError(f"Folder {folder} holds a pretraining of another config, cohort or seed", mend="give another run_dir, or delete that folder")
        log.info("%s is there already", FILE)
        return path
    device = device_of(config["trainer"])
    name, view = make_pretrainable(config)
    reader, train, select = _fitted(view, cohort, split)
    log.info("%s: %d people teach the encoder of %s, %d choose the epoch", at.name, train.size, name, select.size)
    network, fetch = _network(config, name, view, reader, train, seed)
    base = _base_rate(network.pretext, int(config["d_model"]), fetch, chunks(select, select_batch(config))) if select.size else None
    data = cohort_data(config, fetch, train, select, seed=seed, device=device)
    learner = Learner(
        network,
        Course(),
        watch=WatchPretext(network),
        optimizer=config["optimizer"],
        schedule=make(config["scheduler"]),
        settings=config["learner"],
        n_train=train.size,
        n_batches=data.n_batches,
        seed=seed,
    )
    course = train_through(config, learner, data, device, at, stamp, trainings=trainings, loggers=loggers)
    say_end(at, course, base)
    write_json(at / "history.json", {**course.history(), "base_select_loss": base, "n_parameters": network.n_parameters()})
    weights = weights_of(network.encoder)
    salt = digest(weights)
    Pretrained(
        view=name,
        d_model=int(config["d_model"]),
        encoder=dict(config["modality"][name]["encoder"]),
        view_state=view.state(),
        weights=weights,
        salt=salt,
        taught=People.of(cohort.rows[train], salt),
        chose=People.of(cohort.rows[select], salt),
        facts={
            "stamp": stamp,
            "cohort": cohort.hash,
            "pretext": str(config["pretext"]["_target_"]).rsplit(".", 1)[-1],
            "n_people": int(train.size),
            "n_select_people": int(select.size),
            "select_nll": course.best_loss if select.size else None,
            "base_select_nll": base,
            "best_epoch": course.best_epoch,
            "seed": seed,
        },
    ).save(path)
    shutil.rmtree(at / "checkpoint", ignore_errors=True)
    return path


def _fitted(view: Pretrainable, cohort: Cohort, split: Split) -> tuple[Rewindable, np.ndarray, np.ndarray]:
    """Fits the view; its reader, and the rows that teach and that select, one a subject."""
    view.fit(cohort, last_rows(cohort, split.train[cohort.present_in(view.evidence)[split.train]]))
    reader = view.open(cohort)
    past = reader.has_past()
    train, select = (last_rows(cohort, rows[past[rows]]) for rows in (split.train, split.select))
    if not train.size:
        raise UserError(
            f"No train row of evidence {view.evidence!r} has an event before its end: there is nothing to foretell",
            found=f"{split.train.size} train rows",
            mend="check the prediction times, or choose another view",
        )
    return reader, train, select


def _network(config: Mapping[str, Any], name: str, view: Pretrainable, reader: Rewindable, train: np.ndarray, seed: int) -> tuple[PretextNetwork, FetchRewound]:
    """An encoder that starts as a model's would, a pretext that has seen the base rates of train rows, and what fetches their batches."""
    pretext = make_pretext(config, name, view, seed=seed)
    fetch = FetchRewound(reader, cuts=pretext.cuts, at_moments=pretext.at_moments, seed=seed)
    some = epoch_batches(train, max(_BASE_MOMENTS // pretext.cuts, 1), seed, 0)[0]
    pretext.setup(fetch.train(some, 0).future)
    return connect_pretext(config, name, view, pretext, seed=seed), fetch


def last_rows(cohort: Cohort, rows: np.ndarray) -> np.ndarray:
    """Of these rows each subject's last one, i64, increasing: the one of the latest prediction time, whose past holds that of the others."""
    named = cohort.rows[rows].select("subject_id", "prediction_time", pl.Series("at", rows))
    last = named.sort("prediction_time", "at", nulls_last=False).group_by("subject_id").agg(pl.col("at").last())
    return np.sort(last["at"].to_numpy().astype(np.int64))


def _stamp(config: Mapping[str, Any], cohort: Cohort, split: Split, seed: int) -> str:
    """What the weights depend on, in 16 hex digits."""
    kept = {k: config[k] for k in _DECIDES} | {"modality": {k: v for k, v in config["modality"].items() if k == make_pretrainable(config)[0]}}
    kept["learner"] = {k: v for k, v in kept["learner"].items() if k not in _DECIDES_NOT}
    rows = [torch.from_numpy(np.ascontiguousarray(r)) for r in (split.train, split.select)]
    return digest({"config": json.loads(json.dumps(kept)), "precision": config["trainer"]["precision"], "cohort": cohort.hash, "rows": rows, "seed": seed})


@torch.no_grad()
def _base_rate(pretext: Pretext, d_model: int, fetch: FetchRewound, select_chunks: Sequence[np.ndarray]) -> float:
    """select/nll of the base rates, which the vector 0 says."""
    total, n = 0.0, 0
    for rows in select_chunks:
        batch = fetch.select(rows)
        total, n = total + float(pretext(torch.zeros(batch.size, d_model), batch.future).double().sum()), n + batch.size
    return total / n
