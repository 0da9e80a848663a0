"""The endpoints of each kind of outcome."""

from __future__ import annotations

from equipoise.contract.errors import UserError
from equipoise.trial.binary import BINARY, BINARY_EXTRA
from equipoise.trial.continuous import CONTINUOUS, CONTINUOUS_EXTRA
from equipoise.trial.endpoint import Endpoint
from equipoise.trial.multiclass import MULTICLASS
from equipoise.trial.protocol import Protocol
from equipoise.trial.time_to_event import at_horizons
from equipoise.trial.treatment_effect import TREATMENT_EFFECT

PRIMARY = {"binary": "log_score", "multiclass": "log_score", "continuous": "crps", "time_to_event": "ipcw_brier", "treatment_effect": "log_score"}


def endpoints_of(kind: str, protocol: Protocol, horizons_days: tuple[float, ...] = ()) -> tuple[tuple[Endpoint, ...], Endpoint]:
    """The endpoints that a protocol asks for, and the primary one, which is among them.

    Args:
        kind: of the outcome.
        protocol: names in ``endpoints`` and ``extra_endpoints``; for a time to event without the horizon.
        horizons_days: of a time to event, increasing.

    Raises:
        UserError: a name is not an endpoint of this kind, the primary one has no better side, or the horizon was not predicted.
    """
    usual, extra = _all(kind, horizons_days)
    horizon = primary_horizon(protocol, horizons_days) if kind == "time_to_event" else None
    for name in (*(protocol.endpoints or ()), *protocol.extra_endpoints, *([protocol.primary] if protocol.primary else [])):
        if name not in {_bare(e.name) for e in (*usual, *extra)}:
            raise UserError(
                f"The protocol names an endpoint {name!r} that a {kind} outcome does not have",
                expected=", ".join(dict.fromkeys(_bare(e.name) for e in (*usual, *extra))),
                mend="correct trial.primary, trial.endpoints or trial.extra_endpoints",
            )
    primary_name = protocol.primary or PRIMARY[kind]
    wanted = set(protocol.endpoints or {_bare(e.name) for e in usual}) | set(protocol.extra_endpoints) | {primary_name}
    wanted |= {"net_benefit"} if kind == "binary" else set()  # a part of the rule, whatever is reported
    chosen = tuple(e for e in (*usual, *extra) if _bare(e.name) in wanted)
    at = f"@h={horizon:g}" if horizon is not None else ""
    primary = next((e for e in chosen if e.name == primary_name + at), None) or next(e for e in chosen if e.name == primary_name)
    if not primary.sign:
        raise UserError(
            f"trial.primary is {primary_name}, of which neither more nor less is better",
            expected="one of " + ", ".join(dict.fromkeys(_bare(e.name) for e in (*usual, *extra) if e.sign)),
            mend="choose another trial.primary",
        )
    return chosen, primary


def primary_horizon(protocol: Protocol, horizons_days: tuple[float, ...]) -> float:
    """The declared horizon, or the longest predicted.

    Raises:
        UserError: the declared one was not predicted.
    """
    if protocol.horizon_days is None:
        return max(horizons_days)
    if protocol.horizon_days not in horizons_days:
        raise UserError(
            f"The protocol's horizon of {protocol.horizon_days:g} days was not predicted",
            expected=f"one of {', '.join(f'{h:g}' for h in horizons_days)}",
            mend="correct trial.horizon_days, or ask the task for this horizon (horizons_days)",
        )
    return protocol.horizon_days


def _all(kind: str, horizons_days: tuple[float, ...]) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    match kind:
        case "binary":
            return BINARY, BINARY_EXTRA
        case "multiclass":
            return MULTICLASS, ()
        case "continuous":
            return CONTINUOUS, CONTINUOUS_EXTRA
        case "time_to_event":
            return at_horizons(horizons_days)
        case "treatment_effect":
            return TREATMENT_EFFECT, ()
        case _:
            raise UserError(f"Unknown kind of outcome {kind!r}", expected=", ".join(PRIMARY), mend="correct it")


def _bare(name: str) -> str:
    return name.partition("@")[0]
