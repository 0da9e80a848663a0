"""Composes, checks, and hands a verb its config: once for a run, once a job for a sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equipoise.config.check import check_config
from equipoise.config.compose import ROOT, Composed, compose_values, expand, plain, search_path
from equipoise.config.ranges import check_chosen, check_ranges
from equipoise.contract.errors import UserError
from equipoise.places import configs_dir, find_data

SWEPT = ("run", "train", "pretrain", "cohort")


def checked(overrides: Sequence[str], search: Sequence[str]) -> Composed:
    """Composes one config and holds it against the vocabulary."""
    composed = compose_values(overrides, search)
    base = compose_values(_choices_as_words(composed.choices), search, whole=False)
    if "experiments" in composed.values:
        mend = "write `# @package _global_` into its first line, and keys below it"
        raise UserError(f"Experiment {composed.choices.get('experiments')} does not say where its keys belong", mend=mend)
    check_config(composed.values, base.values)
    check_ranges(composed.values)
    check_chosen(composed.values)
    return composed


def launch(verb: str, overrides: Sequence[str], *, multirun: bool, experiments: str | None, show: bool) -> int:
    """Runs a verb.

    Args:
        verb: the verb.
        overrides: command-line words.
        multirun: a sweep was asked for.
        experiments: where experiments lie, or None for the usual places.
        show: print the composed config and stop.

    Returns:
        The exit code.
    """
    if (data := find_data()) is not None:
        os.environ.setdefault("EQUIPOISE_DATA", str(data))
    with search_path(experiments) as search:
        # With a sweep on the line the first combination says whether the experiment asks for one of its own.
        first = expand(overrides)
        if len(first) > 1 and not multirun:
            raise UserError("A value with commas is a sweep and needs -m", found=f"{len(first)} combinations", mend="add -m, or quote the value: 'key=\"a,b\"'")
        composed = checked(first[0], search)
        multirun = multirun or composed.sweeps
        if multirun and verb not in SWEPT:
            raise UserError(f"`equipoise {verb}` cannot be swept", expected=f"one of {', '.join(SWEPT)} with -m", mend="leave -m out")
        if multirun:
            for combination in expand(overrides, composed.axes):
                checked(combination, search)
        if show:
            from omegaconf import OmegaConf

            print(OmegaConf.to_yaml(OmegaConf.create(composed.values)))
            return 0
        home = _home(verb, composed.values["run_dir"])
        if multirun:
            return _sweep(verb, overrides, search, home)
        values = composed.values
        if verb == "rehearse":
            from equipoise.rehearse import rehearse

            rehearse(values, home, command=_command(verb, overrides))
            return 0
        from equipoise import run

        if verb == "evaluate" and not values["predictions"]:
            from equipoise.again import config_of_run

            values = config_of_run(home, overrides, values)
        run.run_verb(verb, values, home, command=_command(verb, overrides))
        return 0


def _home(verb: str, run_dir: Any) -> Path:
    """The run folder, resolved; refused before hours of work where nothing can be written. `equipoise cohort` writes none."""
    if not run_dir:
        raise UserError(f"Config key run_dir is {run_dir!r}", expected="a folder", mend="give run_dir=FOLDER, or leave it out")
    home = Path(run_dir).resolve()
    if verb != "cohort":
        there = next(p for p in (home, *home.parents) if os.path.exists(p))
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            found = f"{there} is {'not yours to write to' if there.is_dir() else 'a file'}"
            raise UserError(f"The run folder {home} cannot be written", found=found, mend="give run_dir a folder that you may write to")
    return home


def _sweep(verb: str, overrides: Sequence[str], search: Sequence[str], home: Path) -> int:
    """Hydra's own sweeper and launcher; a failing job does not end the sweep. Jobs may run in other processes, so what they did is read from their folders."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    from equipoise import sweep

    def job(config: DictConfig) -> float | None:
        now = HydraConfig.get()
        words = list(now.overrides.task)
        return sweep.run_job(verb, plain(config), Path(now.runtime.output_dir).resolve(), command=_command(verb, words), overrides=words)

    argv, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    # hydra.main reads the words from sys.argv and, without this, turns an exception into sys.exit. The date in the folder's name is settled once.
    sys.argv = ["equipoise", "--multirun", *search, *(o for o in overrides if not o.startswith("run_dir=")), f"hydra.sweep.dir={quoted(home)}"]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        hydra.main(version_base="1.3", config_path=str(configs_dir()), config_name=ROOT)(job)()
    finally:
        sys.argv = argv
        os.environ.pop("HYDRA_FULL_ERROR") if full is None else os.environ.update(HYDRA_FULL_ERROR=full)
    return sweep.end_sweep(home)


def quoted(value: object) -> str:
    """A value as a quoted string of Hydra's override grammar: a path may hold signs that the grammar knows."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _choices_as_words(choices: dict[str, Any]) -> list[str]:
    words = []
    for group, option in choices.items():
        if group == "experiments" or option is None:
            continue
        words.append(f"{group}=[{','.join(option)}]" if isinstance(option, list) else f"{group}={option}")
    return words


def _command(verb: str, overrides: Sequence[str]) -> str:
    return " ".join(["equipoise", verb, *overrides])
