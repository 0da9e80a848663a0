"""Makes an object from a config node, and refuses to import what is not a part."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from typing import Any

from equipoise.contract.errors import UserError

ALLOWED = ("equipoise.", "torch.", "pytorch_lightning.")


def allowed_prefixes() -> tuple[str, ...]:
    """Module prefixes from which a ``_target_`` may come; ``EQUIPOISE_ALLOW`` (comma-separated) adds to them."""
    extra = (p.strip() for p in os.environ.get("EQUIPOISE_ALLOW", "").split(","))
    return (*ALLOWED, *(p if p.endswith(".") else p + "." for p in extra if p))


# Functions below an allowed prefix that read files or run code: a config must not reach them.
_REFUSED = ("torch.load", "torch.jit", "torch.hub", "torch.package", "torch.utils", "torch.serialization", "torch.ops", "torch.classes", "torch._")


def targets_of(node: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every (dotted place, ``_target_``) of a config tree."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield at, str(node["_target_"])
        for key, value in node.items():
            yield from targets_of(value, f"{at}.{key}" if at else str(key))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from targets_of(value, f"{at}[{i}]")


def check_targets(node: Any) -> None:
    """Raises UserError for a ``_target_`` outside the allowed prefixes: Hydra's own block list lets torch.load and kin through."""
    for at, target in targets_of(node):
        if not target.startswith(allowed_prefixes()) or target.startswith(_REFUSED):
            raise UserError(
                f"Config key {at or '<root>'} names _target_ {target!r}",
                expected=f"a class below one of {', '.join(allowed_prefixes())}",
                mend="name one of Equipoise's parts, or add your package's prefix to the environment variable EQUIPOISE_ALLOW",
            )


def make(node: Mapping[str, Any], **supplied: Any) -> Any:
    """Instantiates a config node (nested ones too), with keywords that only the caller knows.

    Args:
        node: a mapping with ``_target_`` and keywords; plain containers or OmegaConf.
        supplied: keywords added to the node's own; they are passed as they are.

    Raises:
        UserError: a ``_target_`` is refused, cannot be imported, or does not take these keywords.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    check_targets(node)
    try:
        # A partial first: what Hydra merges into its own tree loses its type (a dataclass would arrive as a dict).
        part = instantiate({**node, "_partial_": True}, _convert_="all")
        inspect.signature(part).bind(**supplied)
    except InstantiationException as e:
        if isinstance(e.__cause__, UserError):
            raise e.__cause__ from None
        raise UserError(f"Cannot make {node.get('_target_')}", found=str(e).splitlines()[0], mend="compare the keys with the class's keywords") from e
    except (TypeError, ValueError) as e:
        raise UserError(f"Cannot make {node.get('_target_')}", found=str(e), mend="compare the keys with the class's keywords") from e
    return part(**supplied)
