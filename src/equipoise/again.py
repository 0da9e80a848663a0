"""Judges a finished run again: by its own protocol in its place, by another protocol as a new opening, in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.contract.errors import UserError
from equipoise.judge import judge, open_seal, predictions_hash, sealed_rows
from equipoise.predict_table import read_predictions
from equipoise.record import config_hash, read_run_file, write_json
from equipoise.trial.protocol import protocol_of


def config_of_run(folder: Path, overrides: Sequence[str], composed: Mapping[str, Any]) -> dict[str, Any]:
    """The finished run's own config; words about ``trial``, ``paths``, ``site`` and ``statements`` change these and nothing else.

    Args:
        folder: the run folder.
        overrides: the command's words.
        composed: the config that they compose.

    Raises:
        UserError: there is no finished run, or a word is about something else.
    """
    from omegaconf import OmegaConf

    if not (folder / "predictions.parquet").is_file() or not (folder / "config.yaml").is_file():
        raise UserError(f"There are no predictions in {folder}", mend="give run_dir=RUN of a finished run, or predictions=FILE")
    saved: Any = {k: composed[k] for k in ("statements", "site")}  # a run may be older than these keys
    saved |= OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    keys = [word.lstrip("+").partition("=")[0] for word in overrides]
    for key in keys:
        group, _, name = key.partition(".")
        if group not in ("trial", "paths", "statements", "site", "run_dir"):
            raise UserError(
                f"`equipoise evaluate` of a finished run takes no {key}",
                expected="run_dir=RUN, trial=OPTION, trial.KEY=VALUE, statements.KEY=TEXT",
                mend="leave it out; for another model, run again in another run_dir",
            )
        if name:
            saved[group] = {**saved[group], name: composed[group][name]}
        elif group != "run_dir":
            saved[group] = composed[group]
    return {**saved, "run_dir": str(folder), "predictions": None}


def judge_again(config: Mapping[str, Any], folder: Path, command: str) -> dict[str, Any]:
    """Judges a finished run's predictions by the config's protocol.

    Args:
        config: the run's own, its protocol perhaps changed (see `config_of_run`).
        folder: the run folder.
        command: the command line, for the record of another protocol's page.

    Returns:
        results.json's content.

    Raises:
        UserError: the run is not finished, or its files were changed.
    """
    notes, manifest, results = (read_run_file(folder / name) for name in ("notes.json", "manifest.json", "results.json"))
    table = read_predictions(folder / "predictions.parquet")
    # A run that broke off before its held-out rows were opened in the ledger is not judged behind its back.
    if "opening" not in manifest:
        found = f"status {manifest.get('status')!r}, no opening"
        raise UserError(f"The run in {folder} is not finished", found=found, mend="go on with it: the same command and run_dir")
    if predictions_hash(table) != manifest.get("predictions_hash"):
        raise UserError(f"The predictions in {folder} were changed after the run", mend="run again; a table of your own is judged by predictions=FILE")
    protocol, home = protocol_of(config["trial"]), folder
    if protocol.hash != results.get("protocol", {}).get("hash"):
        # Whoever changes the protocol has seen the results: a new opening, beside the first and not over it.
        home = folder / f"evaluated_{protocol.hash}"
        from omegaconf import OmegaConf

        manifest |= {"command": command, "config_hash": config_hash(config), "config_yaml": OmegaConf.to_yaml(OmegaConf.create(dict(config)))}
        manifest["opening"] = open_seal(config, str(notes["cohort"]["hash"]), table, str(notes["role"]), sealed_rows(folder))
        write_json(home / "manifest.json", manifest)
    made = judge(config, home, manifest, table, notes, manifest["opening"], predictions=folder / "predictions.parquet")
    print(f"report: {home / 'report.html'}")
    return made
