"""Synthetic sources for tests, composed from configs/cohort by Hydra's own mechanics."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from equipoise.cohort.synthetic import Synthetic
from equipoise.contract.make import make

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
PRESETS = sorted(p.stem for p in (CONFIGS / "cohort").glob("*.yaml") if p.stem != "synthetic" and "- synthetic" in p.read_text())
SMALL = ("genome.variants=60", "genome.chromosomes=4", "genome.polygenicity=0.5")
"""A small genome, for tests that are about something else."""


def synthetic(preset: str = "synthetic", *overrides: str, n: int = 300, seed: int = 0) -> Synthetic:
    """``cohort=preset`` with overrides of keys, known or not, below ``cohort.``"""
    words = [f"++cohort.{o}" for o in (f"n={n}", f"seed={seed}", *overrides)]
    with initialize_config_dir(str(CONFIGS), version_base=None):
        node = compose(f"cohort/{preset}", words)["cohort"]
    made = make(OmegaConf.to_container(node, resolve=True))
    assert isinstance(made, Synthetic)
    return made
