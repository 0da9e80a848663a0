"""`equipoise rehearse`: the whole protocol on twins of the user's cohort whose truth is planted, before any held-out row is opened.

Held-out outcomes are never read: the declared truth is fitted to train rows, held-out rows lend their features only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from equipoise import __version__
from equipoise.cohort.frozen import Cohort
from equipoise.contract.errors import UserError
from equipoise.init_from import with_content
from equipoise.record import config_hash, recording, save_config, speak, versions, write_json
from equipoise.rehearse.figures import figures_of
from equipoise.rehearse.fits import settings_of
from equipoise.rehearse.one import World, one_twin
from equipoise.rehearse.page import page, printed
from equipoise.rehearse.stand_in import PENALTIES
from equipoise.rehearse.world import question_of, synthetic_source, world_of
from equipoise.rehearsed import FILE, hash_of
from equipoise.run import open_source, threads
from equipoise.trial.endpoints import endpoints_of
from equipoise.trial.protocol import protocol_of
from equipoise.whole_file import write_whole

KINDS, MODELS = ("plasmode", "synthetic"), ("small", "config", "fast")
SCHEMA = 1
_EARLY = 5
"""After so many twins a rehearsal that can only fail ends."""


def rehearse(config: dict[str, Any], folder: Path, *, command: str) -> dict[str, Any]:
    """Rehearses the run of a config; twins that are finished already are not made again.

    Args:
        config: the run's, resolved and checked.
        folder: for the twins' records, rehearsal.json and rehearsal.html.
        command: the command line, for the record.

    Returns:
        rehearsal.json's content.

    Raises:
        UserError: the config cannot be rehearsed, or the folder holds another rehearsal.
    """
    speak()
    _check(config["rehearse"])
    config = with_content(config)
    with recording(folder, command) as manifest, threads(int(config["trainer"]["threads"])):
        cohort = open_source(config)
        question_of(config, cohort)
        stamp = _stamp(config, cohort)
        for twin in sorted((folder / "twins").glob("*.json")):
            _read(twin, stamp)  # another rehearsal's folder is refused before its config is written over
        manifest |= {"config_hash": config_hash(config), "name": config["name"], "config_yaml": save_config(config, folder), "cohort_hash": cohort.hash}
        _run_twins(config, cohort, folder, stamp)
        twins = [_read(_place(folder, i), stamp) or {} for i in range(int(config["rehearse"]["twins"]))]
        made = _content(config, cohort, twins)
        write_json(folder / FILE, made)
        write_whole(folder / "rehearsal.html", lambda f: f.write(page(made).encode()))
    print(printed(made))
    print(f"rehearsal: {folder / 'rehearsal.html'}")
    return made


def _check(settings: Mapping[str, Any]) -> None:
    for key, allowed in (("kind", KINDS), ("model", MODELS)):
        if settings[key] not in allowed:
            raise UserError(f"Config key rehearse.{key} is {settings[key]!r}", expected=f"one of {', '.join(allowed)}", mend=f"correct rehearse.{key}")
    gains = settings["gains"]
    if not gains or not all(isinstance(g, int | float) and not isinstance(g, bool) and g >= 0 for g in gains):
        raise UserError(f"Config key rehearse.gains is {gains!r}", expected="numbers >= 0, at least one", mend="e.g. rehearse.gains=[0,0.02]")
    if settings["sweep"] and settings["model"] == "fast":
        raise UserError(
            "The fast stand-in has a sweep of its own", expected="no rehearse.sweep", mend="choose rehearse.model=small, or leave rehearse.sweep out"
        )


def _stamp(config: Mapping[str, Any], cohort: Cohort) -> str:
    """What a twin's records depend on, besides its number."""
    kept = {k: v for k, v in config["rehearse"].items() if k not in ("twins", "processes")}
    told = json.dumps([__version__, config_hash(config), cohort.hash, kept], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _place(folder: Path, number: int) -> Path:
    return folder / "twins" / f"{number:05d}.json"


def _read(path: Path, stamp: str) -> dict[str, Any] | None:
    """What a finished twin left; None where there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    if found.get("stamp") != stamp:
        raise UserError(f"Folder {path.parent.parent} holds twins of another cohort, config or version", mend="give another run_dir, or delete the folder")
    return found


def _run_twins(config: dict[str, Any], cohort: Cohort, folder: Path, stamp: str) -> None:
    """Makes the twins that are missing, and says how long the rest will take."""
    total = int(config["rehearse"]["twins"])
    missing = [i for i in range(total) if _read(_place(folder, i), stamp) is None]
    began, processes = time.perf_counter(), min(int(config["rehearse"]["processes"]), max(len(missing), 1))
    print(f"rehearsing {len(missing)} of {total} twins, {len(config['rehearse']['gains'])} planted gains each", flush=True)
    for done, _ in enumerate(_made(config, cohort, folder, stamp, missing, processes), start=1):
        if done == min(_EARLY, len(missing)):
            _refuse_hopeless(folder, total, stamp)
        if done in (1, len(missing)) or done % max(1, len(missing) // 20) == 0:
            spent = time.perf_counter() - began
            print(f"  {done} of {len(missing)} twins in {spent:,.0f} s, about {spent / done * (len(missing) - done):,.0f} s left", flush=True)


def _refuse_hopeless(folder: Path, total: int, stamp: str) -> None:
    """Raises UserError when no twin so far could be fitted at all: the rest would end likewise."""
    twins = [found for i in range(total) if (found := _read(_place(folder, i), stamp)) is not None]
    whys = [record.get("why") for twin in twins for record in twin["records"]]
    if all(whys):
        raise UserError("No twin of this cohort could be fitted", found=str(whys[0]), mend="correct that for the run itself first; it would end likewise")


def _made(config: dict[str, Any], cohort: Cohort, folder: Path, stamp: str, numbers: list[int], processes: int) -> Iterator[int]:
    """The twins' numbers as they are finished."""
    if processes < 2:
        yield from _work(config, cohort, folder, stamp, numbers)
        return
    # About 8 parts of consecutive twins a process, so that progress can be told; each part opens the cohort and declares the truth anew.
    share = max(1, len(numbers) // (8 * processes))
    parts = [numbers[i : i + share] for i in range(0, len(numbers), share)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for each in as_completed([pool.submit(_in_process, config, folder, stamp, part) for part in parts]):
            yield from each.result()


def _in_process(config: dict[str, Any], folder: Path, stamp: str, numbers: list[int]) -> list[int]:
    with threads(1), _silent():
        return list(_work(config, open_source(config), folder, stamp, numbers))


def _work(config: dict[str, Any], cohort: Cohort, folder: Path, stamp: str, numbers: Iterable[int]) -> Iterator[int]:
    world: World | None = None
    for number in numbers:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="equipoise-twin-") as work, _silent():
            if config["rehearse"]["kind"] == "synthetic":
                world = world_of(config, synthetic_source(config, cohort, number, Path(work) / "cohort"))
            world = world or world_of(config, cohort)
            records = one_twin(world, number, Path(work))
        path = _place(folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"stamp": stamp, "records": records, "declared": world.declared, "seconds": round(time.perf_counter() - began, 2)})
        yield number


@contextmanager
def _silent() -> Iterator[None]:
    """No line of a twin's fits reaches the terminal or the log: a thousand of them would hide what is said."""
    log = logging.getLogger("equipoise")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _content(config: Mapping[str, Any], cohort: Cohort, twins: list[dict[str, Any]]) -> dict[str, Any]:
    settings, records = dict(config["rehearse"]), [twin["records"] for twin in twins]
    protocol, question = protocol_of(config["trial"]), question_of(config, cohort)
    tried = len(PENALTIES) if settings["model"] == "fast" else len(settings_of(config))
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": config["name"],
        "cohort_hash": cohort.hash,
        "protocol_hash": protocol.hash,
        "protocol": protocol.name,
        "level": protocol.level,
        "config_hash": config_hash(config),
        "settings": {k: v for k, v in settings.items() if k != "processes"},
        "tried": tried,
        "task": question.task,
        "primary": endpoints_of(question.kind, protocol)[1].name,
        "declared": twins[0]["declared"],
        "seconds_a_twin": round(sum(twin["seconds"] for twin in twins) / len(twins), 2),
        "rows": cohort.manifest["roles"],
        "records_hash": hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()[:16],
        "versions": versions(),
        "figures": figures_of(records),
    }
    made["hash"] = hash_of(json.loads(json.dumps(made)))
    return made
