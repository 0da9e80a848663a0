"""A pretrained encoder in one file: its weights, its view's fitted state, who taught it; and how a model's encoder starts from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from equipoise.contract.errors import UserError
from equipoise.encoder.event_embedding import EventEmbedding
from equipoise.modality import Pretrainable, View
from equipoise.model import digest, load_plain, plain, save_plain

PRETRAINED_KIND = "equipoise.pretrained"
FILE = "pretrained.pt"
FREE = ("dropout", "prior_scale")
"""Settings of an encoder that a model may choose anew: neither the shape of the weights nor what they compute depends on them."""


@dataclass(frozen=True)
class People:
    """Who they were, as salted hashes: enough to know them again, and no more to be given away than their identifiers, which can be tried one by one.

    Args:
        subjects: i64, increasing.
        clusters: i64, increasing.
    """

    subjects: Tensor
    clusters: Tensor

    @classmethod
    def of(cls, rows: pl.DataFrame, salt: str) -> Self:
        """Of cohort rows."""
        return cls(*(torch.from_numpy(hashed(rows[column].unique().to_list(), f"{column} {salt}")) for column in ("subject_id", "cluster")))

    def shared_with(self, other: People) -> int:
        """How many subjects, or clusters where these are more, are in both; equal salts."""
        pairs = ((self.subjects, other.subjects), (self.clusters, other.clusters))
        return max(int(np.intersect1d(a.numpy(), b.numpy(), assume_unique=True).size) for a, b in pairs)


def hashed(names: Iterable[str], salt: str) -> np.ndarray:
    """64 bits of each name's hash under a salt, i64, increasing."""
    made = (hashlib.blake2b(str(name).encode(), digest_size=8, key=salt.encode()[:64]).digest() for name in names)
    return np.sort(np.array([int.from_bytes(h, "little", signed=True) for h in made], dtype=np.int64))


@final
@dataclass(frozen=True)
class Pretrained:
    """An encoder of events and what it needs to be started from.

    Args:
        view: name of the view in the config.
        d_model: D.
        encoder: its config node.
        view_state: of the fitted view.
        weights: of the encoder.
        salt: of the people's hashes, another in each file.
        taught: whose events the weights were fitted to.
        chose: whose events chose the epoch.
        facts: plain values: cohort hash, pretext, counts, losses, seed, stamp.
    """

    view: str
    d_model: int
    encoder: dict[str, Any]
    view_state: dict[str, Any]
    weights: dict[str, Tensor]
    salt: str
    taught: People
    chose: People
    facts: dict[str, Any]

    def state(self) -> dict[str, Any]:
        """Plain numbers, strings, lists, dicts and tensors."""
        return plain({**vars(self), "taught": vars(self.taught), "chose": vars(self.chose)})

    def hash(self) -> str:
        """16 hex digits of the SHA-256 of the content."""
        return digest(self.state())

    def save(self, path: Path) -> None:
        """Writes the file in one step."""
        save_plain(path, PRETRAINED_KIND, self.state())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads the file.

        Raises:
            UserError: it is missing, damaged, or something else.
        """
        state = load_plain(path, PRETRAINED_KIND)
        return cls(**{**state, "taught": People(**state["taught"]), "chose": People(**state["chose"])})

    def check(self, config: Mapping[str, Any]) -> None:
        """Raises UserError where the config's view or encoder is not the one that was pretrained, naming what differs."""
        node = config["modality"].get(self.view)
        if node is None:
            raise UserError(
                f"init_from holds an encoder of view {self.view!r}, which the config does not have",
                found=f"modality: {', '.join(config['modality'])}",
                mend=f"add {self.view} to modality, or leave init_from out",
            )
        at = f"modality.{self.view}.encoder"
        own, theirs = _settings(node["encoder"], at, config["d_model"]), _settings(self.encoder, at, self.d_model)
        if differing := [key for key in {**own, **theirs} if own.get(key) != theirs.get(key)]:
            raise UserError(
                f"The encoder of view {self.view!r} is not the one that was pretrained: {differing[0]} differs",
                expected=str(theirs.get(differing[0])),
                found=str(own.get(differing[0])),
                mend="take the encoder as it was pretrained, or pretrain this one",
            )

    def start_view(self, view: View) -> None:
        """A fitted view takes the codes, numbers and scales of pretraining; codes that only it knows stand behind them."""
        assert isinstance(view, Pretrainable), "`check` lets no other pass"
        view.adopt(self.view_state)

    def start_encoder(self, encoder: nn.Module) -> None:
        """An encoder of the view takes the pretrained weights; a code that was not known then starts as the unknown code, which it was then.

        Whatever is counted by code is longer by the new codes in its first dimension and in nothing else.

        Raises:
            UserError: the weights do not fit otherwise.
        """
        known, state = len(self.view_state["codes"]) + 1, encoder.state_dict()
        if wrong := [k for k in state.keys() | self.weights.keys() if not _fits(self.weights.get(k), state.get(k), known)]:
            mend = "take the encoder as it was pretrained, or pretrain this one"
            raise UserError(f"The pretrained weights do not fit the encoder of view {self.view!r}", found=", ".join(sorted(wrong)), mend=mend)
        with torch.no_grad():
            for name, weight in state.items():
                weight[: len(self.weights[name])].copy_(self.weights[name]) if weight.dim() else weight.copy_(self.weights[name])
        for module in encoder.modules():
            if isinstance(module, EventEmbedding):
                module.start_as_unknown(known)

    def told(self) -> dict[str, Any]:
        """What a report says of it: aggregates only."""
        kept = ("cohort", "pretext", "n_people", "n_select_people", "select_nll", "base_select_nll")
        return {"view": self.view, "hash": self.hash(), **{k: self.facts[k] for k in kept}}


def _settings(encoder: Mapping[str, Any], at: str, d_model: Any) -> dict[str, Any]:
    """What must be alike, by dotted key, the class first."""
    own = {f"{at}.{k}": v for k, v in encoder.items() if k not in (*FREE, "_target_")}
    return {f"encoder@{at}": str(encoder["_target_"]).rsplit(".", 1)[-1], "d_model": int(d_model), **own}


def _fits(theirs: Tensor | None, own: Tensor | None, known: int) -> bool:
    if theirs is None or own is None:
        return False
    return theirs.shape == own.shape or (theirs.shape[1:] == own.shape[1:] and len(theirs) == known < len(own))
