"""Composes the config with Hydra and answers its mistakes in Equipoise's words."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from equipoise.config.help import OF_VERBS
from equipoise.config.nearest import nearest
from equipoise.contract.errors import UserError
from equipoise.places import configs_dir, experiments_dir

ROOT = "run"
LIST_GROUPS = ("modality", "task", "comparator")
"""Groups of which several options are chosen at once."""


@dataclass(frozen=True)
class Composed:
    """A composed config.

    Args:
        values: plain containers, interpolations resolved, without Hydra's own node.
        choices: group -> chosen option, as Hydra records it (``encoder@modality.ehr.encoder`` -> ``gru``).
        sweeps: the experiment asks for a sweep (``hydra.mode: MULTIRUN``).
        axes: the experiment's own sweep axes, as overrides.
    """

    values: dict[str, Any]
    choices: dict[str, Any]
    sweeps: bool
    axes: tuple[str, ...]


def _list_choices(overrides: Sequence[str]) -> dict[str, list[str]]:
    """The options chosen from each list group, read from Hydra's list of defaults."""
    hydra = GlobalHydra.instance().hydra
    if hydra is None:
        return {}
    found: dict[str, list[str]] = {group: [] for group in LIST_GROUPS}
    for default in hydra.config_loader.compute_defaults_list(ROOT, list(overrides), RunMode.RUN).defaults:
        group, _, option = str(default.config_path).partition("/")
        # A parent below the same group is an option that another one inherits from.
        if group in found and option and not str(default.parent).startswith(f"{group}/"):
            found[group].append(option)
    return found


@contextmanager
def search_path(experiments: str | None) -> Iterator[list[str]]:
    """Overrides that let Hydra find experiments and other packages' configs, and nothing else.

    The experiments folder is reached through a link in an otherwise empty folder: were its parent on the search path, any yaml beside it could shadow ours.
    """
    places = [p.strip() for p in os.environ.get("EQUIPOISE_CONFIGS", "").split(",") if p.strip()]
    with tempfile.TemporaryDirectory(prefix="equipoise-") as staging:
        found = experiments_dir(experiments)
        if found is not None:
            if not found.is_dir():
                raise UserError(f"There is no experiments folder {found}", mend="give --experiments DIR an existing folder")
            (Path(staging) / "experiments").symlink_to(found)
            places.insert(0, f"file://{staging}")
        yield [f"hydra.searchpath=[{','.join(places)}]"] if places else []


def compose_values(overrides: Sequence[str], search: Sequence[str], *, whole: bool = True) -> Composed:
    """Composes one config.

    Args:
        overrides: command-line words without sweeps.
        search: from `search_path`.
        whole: refuse values that must still be given.

    Raises:
        UserError: an unknown group, option or key, with the nearest ones and the choices; or a value that must be given is missing.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(configs_dir()), version_base="1.3"):
            config = compose(ROOT, overrides=[*search, *overrides], return_hydra_config=True)
            lists = _list_choices([*search, *overrides]) if whole else {}
    except (HydraException, OmegaConfBaseException) as e:
        raise _in_our_words(e, overrides, search) from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UserError("A config file is no YAML", found=" ".join(str(e).split()), mend="correct the experiment's file") from e
    except ValueError as e:  # Hydra's answer to a group that is set to what is no option, e.g. trial=null
        raise UserError("A config group has no such option", found=str(e).splitlines()[0], mend="see `equipoise --help` for groups and options") from e
    hydra = config.hydra
    params = OmegaConf.to_container(hydra.sweeper.params) if "params" in hydra.sweeper and hydra.sweeper.params else {}
    axes = tuple(f"{k!s}={v}" for k, v in params.items()) if isinstance(params, dict) else ()
    # Hydra does not record what was chosen from a list group, so it is added here.
    choices: dict[str, Any] = {str(k): v for k, v in OmegaConf.to_container(hydra.runtime.choices).items() if not str(k).startswith("hydra/")}  # type: ignore[union-attr]
    return Composed(plain(config, whole=whole), choices | lists, "MULTIRUN" in str(hydra.mode), axes)


def plain(config: DictConfig, *, whole: bool = True) -> dict[str, Any]:
    """Plain containers of a composed config, resolved, without Hydra's node; ``whole`` refuses values that must still be given.

    Raises:
        UserError: a value that must be given (``???``) is missing, or an interpolation does not resolve.
    """
    nodes = {str(key): config._get_node(key) for key in config if key != "hydra"}
    try:
        missing = [key for key, node in nodes.items() if OmegaConf.is_missing(config, key)]
        missing += sorted(below for node in nodes.values() if OmegaConf.is_config(node) for below in OmegaConf.missing_keys(node))
        if missing and whole:
            further = f" (and {', '.join(missing[1:])})" if missing[1:] else ""
            raise UserError(f"Config key {missing[0]} must be given", mend=f"add {missing[0]}=VALUE{further}")
        # Hydra's node stays in place meanwhile: ${now:} and ${hydra:} need it.
        values = {key: config[key] for key in nodes if not OmegaConf.is_missing(config, key)}
        found = {key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value for key, value in values.items()}
    except OmegaConfBaseException as e:
        place = getattr(e, "full_key", None) or "?"
        raise UserError(f"Config key {place} cannot be resolved", found=str(e).splitlines()[0], mend="correct the interpolation") from e
    # Of a list group with nothing chosen, e.g. comparator=[], Hydra leaves no node at all.
    return {group: {} for group in LIST_GROUPS if group not in found} | found


def expand(overrides: Sequence[str], axes: Sequence[str] = ()) -> list[list[str]]:
    """The combinations of a sweep, in the order in which Hydra's own sweeper runs them.

    >>> expand(["seed=1,2", "fusion=concat"])
    [['seed=1', 'fusion=concat'], ['seed=2', 'fusion=concat']]
    """
    ours = {o.partition("=")[0] for o in overrides}
    words = [*overrides, *(a for a in axes if a.partition("=")[0] not in ours)]
    choices: list[list[str]] = []
    for parsed in _parse(words):
        key = parsed.get_key_element()
        choices.append([f"{key}={v}" for v in parsed.sweep_string_iterator()] if parsed.is_sweep_override() else [str(parsed.input_line)])
    return [list(c) for c in itertools.product(*choices)]


def _parse(words: Sequence[str]) -> list[Any]:
    try:
        return list(OverridesParser.create().parse_overrides(list(words)))
    except OverrideParseException as e:
        raise UserError(f"Cannot read the word {e.override!r}", found=e.message.splitlines()[0], mend="quote values with special signs: 'key=\"value\"'") from e


def _in_our_words(error: Exception, overrides: Sequence[str], search: Sequence[str]) -> UserError:
    """What Hydra found wrong, as one paragraph with choices."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return UserError(
            f"Cannot read the word {error.override!r}", found=error.message.splitlines()[0], mend="quote values with special signs: 'key=\"value\"'"
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).partition("/")
        choices = _experiments(search) if group == "experiments" else sorted(p.stem for p in (configs_dir() / group).glob("*.yaml"))
        choices = choices or [str(o) for o in error.options or ()]
        return UserError(
            f"There is no option {option!r} in {group}", expected=f"one of {', '.join(choices)}", mend=nearest(option, choices) or "choose one of these"
        )
    if key := re.search(r"Could not override '([^']+)'", text):
        parent, _, last = key[1].rpartition(".")
        known = _known_keys(search)
        if key[1] in known:
            return UserError(
                f"Config key {key[1]} is given entries that it does not have", mend=f"write a plus before it, '+{key[1]}=...', where new ones are meant"
            )
        beside = [k.rpartition(".")[2] for k in known if parent and k.rpartition(".")[0] == parent]
        expected = f"one of {', '.join(beside)}" if beside else ""
        return UserError(
            f"Unknown config key {key[1]}",
            expected=expected,
            mend=(nearest(last, beside) if beside else nearest(key[1], known)) or "see the keys with `equipoise run --cfg`",
        )
    if "ambiguous" in text or "is ambiguous" in text:
        return UserError("A sweep (a value with commas) needs -m", found=text.splitlines()[0], mend="add -m to the command")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kind = "The config cannot be composed" if isinstance(error, ConfigCompositionException) else "The config is wrong"
    return UserError(kind, found=" ".join(lines[:3]), mend="see `equipoise --help` for groups and options")


def _experiments(search: Sequence[str]) -> list[str]:
    staging = re.search(r"file://([^,\]]+)", " ".join(search))
    if staging is None:
        return []
    top = Path(staging[1]) / "experiments"
    return [p.relative_to(top).with_suffix("").as_posix() for p in sorted(top.glob("*/*.yaml"))]


def _known_keys(search: Sequence[str]) -> list[str]:
    """Every group and every dotted key of the default config."""
    with initialize_config_dir(str(configs_dir()), version_base="1.3"):
        config = compose(ROOT, overrides=list(search))
    groups = [p.name for p in configs_dir().iterdir() if p.is_dir() and p.name not in OF_VERBS]
    return groups + list(dotted(OmegaConf.to_container(config)))


def dotted(node: Any, at: str = "") -> Iterator[str]:
    """Every dotted key of nested mappings."""
    if isinstance(node, dict):
        for key, value in node.items():
            here = f"{at}.{key}" if at else str(key)
            yield here
            yield from dotted(value, here)
