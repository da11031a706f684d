"""What a step of a non-linear prior with a Jacobian costs, against k, until memory or time ends it.

    python -m experiments.jacobian [--latents=16 --latents=32 ...] [--lags=1] [--tokens=64] [--memory=16] [--limit=60]

The model is `experiments/peers/jacobian.py`, after IDOL. Memory is what XLA plans for a step:
parameters, Adam's moments and temporaries. A step that would need more than --memory is not run. Prints a table.
"""

from typing import Any

import jax
from absl import flags

from experiments import launch
from experiments.isolated import Died, isolated
from experiments.machine import timed
from experiments.peers import jacobian

_LATENTS = flags.DEFINE_multi_integer("latents", [16, 32, 64, 128, 256, 512, 1024], "concepts, in rising order", 1)
_LAGS = flags.DEFINE_integer("lags", 1, "tokens back", 1)
_TOKENS = flags.DEFINE_integer("tokens", 64, "tokens of a step", 1)
_MEMORY = flags.DEFINE_float("memory", 16.0, "GB (1e9 bytes) that a step may take", 0)
_LIMIT = flags.DEFINE_float("limit", 60.0, "seconds that a step may take: more concepts are not tried after that", 0)


def cost(latents: int, lags: int, tokens: int, memory: float) -> tuple[float, float | None]:
    """GB of a step, and its seconds: the faster of two, None where it would take more than `memory` GB."""
    make = jax.jit(jacobian.init, static_argnums=(0, 1))
    state = jax.eval_shape(make, latents, lags, jax.random.key(0))
    lagged_nf = jax.random.normal(jax.random.key(1), (tokens, (lags + 1) * latents))
    step: Any = jax.jit(jacobian.step, donate_argnums=0).lower(state, lagged_nf).compile()
    plan = step.memory_analysis()
    size = plan.argument_size_in_bytes + plan.temp_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    gigabytes = size / 1e9
    if gigabytes > memory:
        return gigabytes, None
    state = make(latents, lags, jax.random.key(0))
    seconds = []
    for _ in range(2):
        elapsed, (state, _) = timed(step, state, lagged_nf)
        seconds.append(elapsed)
    return gigabytes, min(seconds)


def main() -> None:
    print("| k | GB a step | s a step |\n|---|---|---|", flush=True)
    for latents in _LATENTS.value:
        try:
            gigabytes, seconds = isolated(cost, latents, _LAGS.value, _TOKENS.value, _MEMORY.value)
        except Died as error:
            print(f"| {latents} | {error} | |")
            break
        shown = "out of memory" if seconds is None else f"{seconds:.4f}"
        print(f"| {latents} | {gigabytes:.3f} | {shown} |", flush=True)
        if seconds is None or seconds > _LIMIT.value:
            break


if __name__ == "__main__":
    launch.run(main)
