"""Means over the tokens of an array, a part of them at a time: what is made of a part is small."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

NUMBERS = 2**22
"""Of a part, at least."""


def most_parts(tokens: int, width: int) -> int:
    """A power of two: as many as leave each part its numbers."""
    return 2 ** int(math.log2(max(tokens * width // NUMBERS, 1)))


def average(of: Callable[[jax.Array], Any], residual_nk: jax.Array) -> Any:
    """of(residual_nk), a tree of means over the tokens it is given, as the mean over its parts."""
    part_npk = _parts(residual_nk)
    count = part_npk.shape[1]
    nothing = jax.tree.map(lambda mean: jnp.zeros(mean.shape, mean.dtype), jax.eval_shape(of, part_npk[:, 0]))

    def add(p: int, total: Any) -> Any:
        return jax.tree.map(lambda total, mean: total + mean / count, total, of(part_npk[:, p]))

    return jax.lax.fori_loop(0, count, add, nothing)


def multiplied(residual_nk: jax.Array, matrix_kk: jax.Array) -> jax.Array:
    """residual_nk matrix_kk^T, in the place of residual_nk where that is donated."""

    def multiply(p: int, part_npk: jax.Array) -> jax.Array:
        return part_npk.at[:, p].set(jnp.matmul(part_npk[:, p], matrix_kk.T, precision="highest"))

    part_npk = _parts(residual_nk)
    return jax.lax.fori_loop(0, part_npk.shape[1], multiply, part_npk).reshape(residual_nk.shape)


def _parts(residual_nk: jax.Array) -> jax.Array:
    """As many as divide the tokens; each from all over them, so that it is spread over devices as they are."""
    n, k = residual_nk.shape
    return residual_nk.reshape(-1, math.gcd(n, most_parts(n, k)), k)
