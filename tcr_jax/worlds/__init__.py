"""Synthetic worlds: processes and dictionaries that are known, to judge what an estimator finds."""

from tcr_jax.worlds.config import PRESETS, WorldConfig
from tcr_jax.worlds.simulation import Sample
from tcr_jax.worlds.world import World, make_world, sample

__all__ = ["PRESETS", "Sample", "World", "WorldConfig", "make_world", "sample"]
