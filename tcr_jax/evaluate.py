"""Held-out figures of a model: one jitted function over batches that training never saw."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tcr_jax.config import Config
from tcr_jax.figures import Sums, collect, figures, zeros
from tcr_jax.objective import code, forward, innovation, with_matrices
from tcr_jax.params import Params, param_specs
from tcr_jax.process import spectral_radius
from tcr_jax.typing import Array

Evaluation = tuple[Sums, jax.Array, jax.Array]


def make_evaluate(
    config: Config, width: int, mesh: Mesh
) -> Callable[[Params, Iterable[tuple[Array, Array]]], dict[str, float]]:
    """A function of (params, batches of global (x_btd, document_bt)) that returns the held-out figures.

    See `figures` for their definitions; `heldout_loss` is reconstruction + lambda code + alpha innovation, the terms of
    the objective that data can contradict, and is what the best checkpoint is chosen by.
    """
    specs = jax.tree.map(lambda spec: NamedSharding(mesh, spec), param_specs(config, width))
    rows, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())

    def step(params: Params, x_btd: Array, document_bt: Array) -> Evaluation:
        out = forward(with_matrices(params, config.dtype), x_btd, document_bt)
        sums = collect(params, out)
        return sums, code(out) * sums.kept, innovation(out, config.innovation) * sums.scored

    step = jax.jit(step, in_shardings=(specs, rows, rows), out_shardings=everywhere)

    def evaluate(params: Params, batches: Iterable[tuple[Array, Array]]) -> dict[str, float]:
        total: Any = None
        for x_btd, document_bt in batches:
            seen = step(params, x_btd, document_bt)
            total = seen if total is None else jax.tree.map(jnp.add, total, seen)
        sums, codes, innovations = total
        values = figures(sums)
        loss = (sums.error / width + config.code_l1 * codes) / sums.kept
        loss += config.innovation_weight * innovations / jnp.maximum(sums.scored, 1)
        return {f"heldout_{name}": float(value) for name, value in {"loss": loss, **values}.items()}

    return evaluate


def describe_process(params: Params) -> dict[str, jax.Array]:
    """What B and M look like: their shares of exact zeros, and the growth of the process a token."""
    process = params.process
    return {
        "zeros_b": zeros(process.b_lkk),
        "zeros_m": zeros(process.m_kk),
        "spectral_radius": spectral_radius(process),
    }
