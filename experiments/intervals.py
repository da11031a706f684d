"""How often the direct solver's 95 % intervals hold the truth, on worlds whose process is known.

    python -m experiments.intervals [--preset=realistic] [--tokens=200000] [--seed=10 --seed=11] [field of WorldConfig]

A line a seed, and all together: the share of true effects of B and of M inside their interval, of those found.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import config_flags, launch
from tcr_jax.dictionary import encode
from tcr_jax.identify import NotIdentifiable, identify
from tcr_jax.params import Process
from tcr_jax.scores import coverage, mcc
from tcr_jax.worlds import PRESETS, WorldConfig, make_world, sample

_PRESET = flags.DEFINE_enum("preset", "realistic", sorted(PRESETS), "world to start from; other flags replace fields")
_TOKENS = flags.DEFINE_integer("tokens", 200_000, "time steps to learn from, whole documents", 1)
_DRAWS = flags.DEFINE_integer("draws", 64, "draws behind the standard errors", 1)
config_flags.define(WorldConfig)
_SEED = flags.DEFINE_multi_integer("seed", [10, 11, 12, 13, 14], "of world and data", 0, allow_override=True)

HELDOUT = 10_000
"""Tokens on which found concepts are matched with true ones."""


def measure(config: WorldConfig) -> dict[str, tuple[int, int]]:
    """Counts inside and in all, for B and M."""
    world = make_world(config)
    batches = world.batches(math.ceil(_TOKENS.value / config.context))
    found = identify(batches, latents=config.latents, lags=config.lags, draws=_DRAWS.value)
    fresh = sample(world, jax.random.fold_in(jax.random.key(config.seed), 1), math.ceil(HELDOUT / config.context))
    z_nk = np.asarray(encode(found.params.dictionary, fresh.x_btd)).reshape(-1, config.latents)
    matching = mcc(np.asarray(fresh.z_btk).reshape(-1, config.latents), z_nk).matching
    errors = Process(b_lkk=jnp.asarray(found.b_error_lkk), m_kk=jnp.asarray(found.m_error_kk), intercept_k=None)
    process = found.params.process.replace(intercept_k=None)
    return coverage(world.params.process, process, errors, matching)


def main() -> None:
    fields = {**PRESETS[_PRESET.value], **config_flags.given(WorldConfig)}
    total = {"B": (0, 0), "M": (0, 0)}
    for seed in _SEED.value:
        counts = measure(WorldConfig(**{**fields, "seed": seed}))
        total = {name: (total[name][0] + inside, total[name][1] + found) for name, (inside, found) in counts.items()}
        print(f"seed {seed}: {_line(counts)}", flush=True)
    print(f"all: {_line(total)}")


def _line(counts: dict[str, tuple[int, int]]) -> str:
    return ", ".join(f"{name} {inside / max(found, 1):.1%} of {found}" for name, (inside, found) in counts.items())


if __name__ == "__main__":
    launch.run(main, NotIdentifiable)
