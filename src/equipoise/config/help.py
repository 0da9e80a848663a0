"""The text of ``--help``, read from the first comment of each yaml: no hydra, no torch, a few milliseconds."""

from __future__ import annotations

from pathlib import Path

from equipoise.places import configs_dir, experiments_dir

VERBS: dict[str, str] = {
    "run": "cohort to report for one config, the main job",
    "init": "look at one flat table and write a runnable experiment: equipoise init FILE --outcome COLUMN [--id COLUMN]",
    "rehearse": "the whole protocol of a run on twins of its cohort with a planted truth, before any row is opened: equipoise rehearse [words of the run]",
    "cohort": "build and validate the cohort, print its flow",
    "pretrain": "an encoder of events on the cohort's records, without outcomes; `run` starts from it by init_from=RUN",
    "train": "cohort and training; leaves the model in the run folder",
    "predict": "predict the rows of a cohort, unlabelled ones too, with a trained model: equipoise predict model=RUN cohort=...",
    "evaluate": "report on a predictions table: equipoise evaluate run_dir=RUN, or predictions=FILE",
    "verify": "recompute every number of a report from its predictions: equipoise verify RUN",
    "compare": "runs beside each other, on the same rows: equipoise compare RUN RUN ... [--out FOLDER]",
    "pool": "validation across sites without sharing rows: equipoise pool SITE.json SITE.json ... [--out FOLDER]",
    "plan": "sample size and power: equipoise plan KIND [KEY=VALUE ...] [--out FOLDER]",
    "doctor": "versions, device, disk, W&B mode, data found",
}

USAGE = """\
usage: equipoise VERB [GROUP=OPTION ...] [KEY=VALUE ...] [-m] [--experiments DIR]

  -m, --multirun     sweep: equipoise run -m seed=1,2 fusion=concat,late
  --experiments DIR  where experiments lie (default: ./experiments, else the checkout's)
  --cfg              print the composed config and stop
  --version          print the version
  VERB --help        this page
"""

# Groups of things outside the house: they have no room of their own in the first part of the page.
OUTSIDE = ("trainer", "optimizer", "scheduler", "logger", "paths", "debug", "validation", "tune", "learner", "trial", "rehearse")

# Folders of a verb that composes no run: no groups of a run's config.
OF_VERBS = ("plan",)


def first_comment(path: Path) -> str:
    """The first comment line of a yaml file, without its sign; Hydra's own ``# @package`` lines, which must come first, are passed over."""
    with path.open(encoding="utf-8", errors="replace") as f:
        for line in f:
            if not line.startswith("#"):
                return ""
            text = line[1:].strip()
            if not text.startswith("@"):
                return text
    return ""


def groups() -> dict[str, dict[str, str]]:
    """Every config group with its options and their one-line help."""
    folders = sorted(p for p in configs_dir().iterdir() if p.is_dir() and p.name not in OF_VERBS)
    return {folder.name: options for folder in folders if (options := _options(folder))}


def plan_kinds() -> dict[str, str]:
    """The kinds of `equipoise plan` with their one-line help."""
    return _options(configs_dir() / "plan")


def _options(folder: Path) -> dict[str, str]:
    return {p.stem: first_comment(p) for p in sorted(folder.glob("*.yaml"))}


def experiment_options(given: str | None) -> dict[str, str]:
    """Every experiment config below the experiments folder, as ``NNN_slug/file``."""
    top = experiments_dir(given)
    if top is None or not top.is_dir():
        return {}
    return {p.relative_to(top).with_suffix("").as_posix(): first_comment(p) for p in sorted(top.glob("*/*.yaml"))}


def help_text(experiments: str | None = None) -> str:
    """The whole help page."""
    lines = [USAGE, "verbs"]
    lines += [f"  {verb:<10}{text}" for verb, text in VERBS.items()]
    found = groups()
    for title, names in (("parts of the model and the trial", [g for g in found if g not in OUTSIDE]), ("settings", [g for g in found if g in OUTSIDE])):
        lines += ["", title]
        for group in names:
            for i, (option, text) in enumerate(found[group].items()):
                lines.append(f"  {group + '=' if i == 0 else '':<13}{option:<22}{text}".rstrip())
    lines += ["", "kinds of plan (equipoise plan KIND)"]
    lines += [f"  {kind:<28}{text}" for kind, text in plan_kinds().items()]
    runs = experiment_options(experiments)
    if runs:
        lines += ["", "experiments"]
        lines += [f"  experiments={name:<28}{text}".rstrip() for name, text in runs.items()]
    lines += ["", "Any key of the composed config can be set as key=value; `equipoise run --cfg` prints them all."]
    return "\n".join(lines)
