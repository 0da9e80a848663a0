"""What differs between the configs of runs, and which runs differ in nothing but their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.compare.folder import Run
from equipoise.record import config_hash

ABSENT = "\N{EN DASH}"


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a config by dotted key, without the run's seed and without what only says where things lie.

    A comparator's seed that is the run's follows it, and is no setting of its own.

    >>> settings({"seed": 1, "run_dir": "a", "d_model": 8, "fusion": {"_target_": "x.Late"}, "comparator": {"linear": {"seed": 1}}})
    {'d_model': 8, 'fusion._target_': 'x.Late'}
    """
    return {".".join(path): value for path, value in _leaves(config, ()) if _is_setting(path, value, config.get("seed"))}


def _leaves(node: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(node, Mapping) and node:
        return [leaf for key, value in node.items() for leaf in _leaves(value, (*path, str(key)))]
    return [(path, node)]


def _is_setting(path: tuple[str, ...], value: Any, seed: Any) -> bool:
    if path == ("seed",) or (path[0] == "comparator" and path[-1] == "seed" and value == seed):
        return False
    # What a config's hash passes over only says where things lie, what they are called, who listens.
    return config_hash(_nested(path, 0)) != config_hash(_nested(path, 1))


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    made: Any = value
    for key in reversed(path):
        made = {key: made}
    return dict(made)


def differing(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """key -> name -> value, for the settings that are not the same everywhere; a key that a config lacks is an en dash.

    Args:
        configs: name -> its settings.
    """
    keys = list(dict.fromkeys(key for found in configs.values() for key in found))
    table = {key: {name: found.get(key, ABSENT) for name, found in configs.items()} for key in keys}
    return {key: line for key, line in table.items() if any(v != next(iter(line.values())) for v in line.values())}


def ways_of(runs: Sequence[Run]) -> tuple[dict[str, list[Run]], list[str]]:
    """name -> the runs that differ in their seed alone, in the runs' order, and sentences about what was found on the way.

    Runs of one config and one seed are one run if their predictions are equal (the second is left out), and else two ways: something that no
    config says differs between them, such as the version.
    """
    groups: list[list[Run]] = []
    said: list[str] = []
    for run in runs:
        own = settings(run.config)
        alike = [g for g in groups if settings(g[0].config) == own and g[0].manifest.get("cohort_hash") == run.manifest.get("cohort_hash")]
        same = [r for g in alike for r in g if r.seed == run.seed]
        copy = next((r for r in same if r.manifest["predictions_hash"] == run.manifest["predictions_hash"]), None)
        if copy is not None:
            said.append(f"{run.label} was left out: it repeats {copy.label}, with the same config, seed and predictions")
            continue
        if same:
            said.append(f"{run.label} has the config and the seed of {same[0].label}, but other predictions: another version, or another machine")
        group = next((g for g in alike if run.seed not in [r.seed for r in g]), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    names = _names(groups)
    return dict(zip(names, groups, strict=True)), said


def _names(groups: Sequence[list[Run]]) -> list[str]:
    """A run's label; for several seeds what sets the way apart, where that is short and theirs alone."""
    table = differing({str(i): settings(g[0].config) for i, g in enumerate(groups)})
    taken = {run.label for g in groups for run in g}
    names = []
    for i, group in enumerate(groups):
        if len(group) == 1:
            names.append(group[0].label)
            continue
        name = f"{_in_short({key: line[str(i)] for key, line in table.items()}) or group[0].label} ({len(group)} seeds)"
        names.append(name if name not in (*names, *taken) else f"{group[0].label} and {len(group) - 1} more")
    return names


def _in_short(line: Mapping[str, Any]) -> str:
    """At most two settings as ``key=value``, parts by their class; "" where it takes more than fits beside a figure.

    >>> _in_short({"fusion._target_": "equipoise.fusion.late.Late", "fusion.layers": 1, "d_model": 8})
    'fusion=Late d_model=8'
    """
    parts = {key.removesuffix("._target_"): str(value).rsplit(".", 1)[-1] for key, value in line.items() if key.endswith("._target_")}
    inside = tuple(f"{part}." for part in parts)
    words = [f"{k.rsplit('.', 1)[-1]}={v}" for k, v in parts.items()]
    words += [f"{k.rsplit('.', 1)[-1]}={v}" for k, v in line.items() if not k.endswith("._target_") and not k.startswith(inside)]
    text = " ".join(words)
    return text if len(words) <= 2 and len(text) <= 22 else ""
