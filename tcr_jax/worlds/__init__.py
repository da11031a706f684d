"""Synthetic worlds: processes and dictionaries that are known, to judge what an estimator finds."""

from tcr_jax.worlds.ambiguity import Ambiguity, ambiguity
from tcr_jax.worlds.assumptions import Assumptions, assumptions
from tcr_jax.worlds.config import PRESETS, WorldConfig
from tcr_jax.worlds.export import write_store
from tcr_jax.worlds.simulation import Sample
from tcr_jax.worlds.world import World, make_world, sample

__all__ = [
    "PRESETS",
    "Ambiguity",
    "Assumptions",
    "Sample",
    "World",
    "WorldConfig",
    "ambiguity",
    "assumptions",
    "make_world",
    "sample",
    "write_store",
]
