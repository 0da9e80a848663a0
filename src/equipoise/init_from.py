"""The config's ``init_from``: which pretrained file a split starts from, and the refusal to start from people whom it holds out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.cohort.frozen import Cohort
from equipoise.cohort.split import Split
from equipoise.contract.errors import UserError
from equipoise.contract.tables import Role
from equipoise.model import digest
from equipoise.pretrained import FILE, People, Pretrained

log = logging.getLogger("equipoise.init_from")


def with_content(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with ``init_from`` as ``{path, hash}``, the hash that of the content: the config's own hash then knows the content and not the path.

    Raises:
        UserError: there is no such file, it is damaged, or its encoder is not the config's.
    """
    if not config["init_from"]:
        return dict(config)
    hashes = {}
    for name, path in _files(_path(config)).items():
        found = Pretrained.load(path)
        found.check(config)
        hashes[name] = found.hash()
    return {**config, "init_from": {"path": str(_path(config)), "hash": hashes[""] if list(hashes) == [""] else digest(hashes)}}


def of_split(config: Mapping[str, Any], cohort: Cohort, split: Split, role: Role, *, repeat: int, fold: int) -> tuple[dict[str, Any], Pretrained | None]:
    """The config for one split, its ``init_from`` the file of this split, and that file.

    Args:
        config: a run's, or that of an arm with fewer views; where the pretrained view is not among them there is nothing to start.
        cohort: the run's.
        split: row numbers by role.
        role: whose rows will be judged.
        repeat: of the cross-validation.
        fold: likewise.

    Raises:
        UserError: there is no file for this fold, or people whom the split holds out taught the encoder.
    """
    if not config["init_from"]:
        return dict(config), None
    files, folds = _files(_path(config)), bool(config["validation"]["folds"])
    path = files.get(f"fold_{repeat}_{fold}" if folds else "", files.get(""))
    if path is None:
        raise UserError(
            f"There is no pretraining {f'of fold {repeat}.{fold}' if folds else 'of the fixed split'} in {_path(config)}",
            expected=f"{FILE}, or one in fold_<repeat>_<fold> for every fold",
            found=", ".join(files),
            mend="pretrain with this run's validation",
        )
    found = Pretrained.load(path)
    if found.view not in config["modality"]:
        return {**config, "init_from": None}, None
    if not config["init_from_others"]:
        refuse_leak(found, cohort, split, role)
    return {**config, "init_from": {"path": str(path), "hash": found.hash()}}, found


def refuse_leak(found: Pretrained, cohort: Cohort, split: Split, role: Role) -> None:
    """Refuses a pretrained encoder that knows people whom this split holds out.

    Calibrate and held-out people may neither have taught it nor have chosen its epoch. Select people may have chosen it, as they choose a model's epoch;
    where they are judged, as in a sweep, they may not have taught it.

    Raises:
        UserError: naming the role and how many.
    """
    roles: dict[Role, tuple[People, ...]] = {"calibrate": (found.taught, found.chose), "held_out": (found.taught, found.chose)}
    if role == "select":
        roles["select"] = (found.taught,)
    for name, barred in roles.items():
        here = People.of(cohort.rows[np.asarray(split.rows(name))], found.salt)
        if shared := max(people.shared_with(here) for people in barred):
            raise UserError(
                f"The pretrained encoder knows {shared} of the people or clusters of this split's {name} rows",
                expected="pretraining on none of the calibrate and held-out people: it would have seen their records before they are judged",
                mend="pretrain on this cohort's own train rows, or per fold (equipoise pretrain with this run's cohort and validation); "
                "if they are other people with equal identifiers, say so by init_from_others=true",
            )


def _path(config: Mapping[str, Any]) -> Path:
    given = config["init_from"]
    return Path(given["path"] if isinstance(given, Mapping) else str(given)).expanduser()


def _files(path: Path) -> dict[str, Path]:
    """ "" or the fold's name -> file; of a file, of a pretraining's folder, or of one with folds.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return {"": path}
    there = {"": path / FILE, **{p.parent.name: p for p in sorted(path.glob(f"fold_*_*/{FILE}"))}}
    files = {name: p for name, p in there.items() if p.is_file()}
    if not files:
        raise UserError(
            f"There is no pretrained encoder at {path}", expected=f"{FILE}, or the folder that holds it", mend="pretrain first: equipoise pretrain run_dir=..."
        )
    return files
