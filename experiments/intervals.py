"""How often the direct solver's 95 % intervals hold the truth, on worlds whose process is known.

    python -m experiments.intervals [--preset=realistic] [--tokens=200000] [--seed=10 --seed=11] [field of WorldConfig]

A line a seed, and all together: of the true effects of B and of M that were found, the share inside their interval; and
how many were found that are none. These have no true size to be inside of: they are counted apart, as are those missed.
An interval takes the graph for granted, so the share is also told without the effects that the answer itself calls in
doubt, because another graph is as sparse within the standard errors.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import config_flags, launch
from tcr_jax.dictionary import encode
from tcr_jax.identify import identify
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


class Count(NamedTuple):
    """Of effects."""

    inside: int  # their interval
    found: int  # and true
    false: int
    missed: int
    clear_inside: int  # of those that are not in doubt
    clear: int

    def __str__(self) -> str:
        return (
            f"{self.inside / max(self.found, 1):.1%} of {self.found:,} ({self.false} false, {self.missed} missed; "
            f"not in doubt: {self.clear_inside / max(self.clear, 1):.1%} of {self.clear:,})"
        )


def measure(config: WorldConfig) -> dict[str, Count]:
    """For B and for M."""
    world = make_world(config)
    batches = world.batches(math.ceil(_TOKENS.value / config.context))
    found = identify(batches, latents=config.latents, lags=config.lags, draws=_DRAWS.value)
    fresh = sample(world, jax.random.fold_in(jax.random.key(config.seed), 1), math.ceil(HELDOUT / config.context))
    z_nk = np.asarray(encode(found.params.dictionary, fresh.x_btd)).reshape(-1, config.latents)
    matching = mcc(np.asarray(fresh.z_btk).reshape(-1, config.latents), z_nk).matching
    errors = Process(b_lkk=jnp.asarray(found.b_error_lkk), m_kk=jnp.asarray(found.m_error_kk), intercept_k=None)
    process = found.params.process.replace(intercept_k=None)
    truth = world.params.process
    clear = coverage(truth, process, errors, matching, leave_out_k=found.doubt_k)
    counts = {}
    for name, (inside, true) in coverage(truth, process, errors, matching).items():
        field = {"B": "b_lkk", "M": "m_kk"}[name]
        there, all_found = (int(np.count_nonzero(getattr(p, field))) for p in (truth, process))
        counts[name] = Count(inside, true, all_found - true, there - true, *clear[name])
    return counts


def main() -> None:
    fields = {**PRESETS[_PRESET.value], **config_flags.given(WorldConfig)}
    total = dict.fromkeys("BM", Count(0, 0, 0, 0, 0, 0))
    for seed in _SEED.value:
        counts = measure(WorldConfig(**{**fields, "seed": seed}))
        total = {name: Count(*map(sum, zip(total[name], counts[name], strict=True))) for name in total}
        print(f"seed {seed}: {_line(counts)}", flush=True)
    print(f"all: {_line(total)}")


def _line(counts: dict[str, Count]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


if __name__ == "__main__":
    launch.run(main)
