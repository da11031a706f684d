"""The fixed-point iteration of symmetric FastICA."""

import functools

import jax
import jax.numpy as jnp

from tcr_jax.typing import Array

SLOPE = 0.5
"""Of the contrast log cosh(SLOPE y): soft, so that the many weak pulls towards the components add up."""


@functools.partial(jax.jit, donate_argnums=0)
def iterate(rotation_kk: Array, residual_nk: Array) -> tuple[jax.Array, jax.Array]:
    """The next rotation, and 1 - |cosine| between each row and what it was.

    w_i <- E[g(w_i r) r] - E[g'(w_i r)] w_i with g(y) = tanh(SLOPE y), then all rows orthonormal together.
    Source: Hyvarinen 1999, "Fast and robust fixed-point algorithms for independent component analysis".
    """
    with jax.default_matmul_precision("highest"):
        g_nk = jnp.tanh(SLOPE * (residual_nk @ rotation_kk.T))
        slope_k = SLOPE * (1 - jnp.square(g_nk).mean(axis=0))
        next_kk = g_nk.T @ residual_nk / len(residual_nk) - slope_k[:, None] * rotation_kk
    next_kk = orthonormal(next_kk)
    cosine_k = jnp.sum(next_kk * rotation_kk, axis=1)
    return next_kk * jnp.sign(cosine_k)[:, None], 1 - jnp.abs(cosine_k)


@jax.jit
def orthonormal(matrix_kk: Array) -> jax.Array:
    """The nearest orthogonal matrix, by Newton and Schulz's iteration: products only, fast on every device."""
    with jax.default_matmul_precision("highest"):
        start_kk = matrix_kk / jnp.sqrt(jnp.linalg.norm(matrix_kk, 1) * jnp.linalg.norm(matrix_kk, jnp.inf))

        def step(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            w_kk, _, count = carry
            gram_kk = w_kk @ w_kk.T
            error = jnp.abs(gram_kk - jnp.eye(len(w_kk))).max()
            return 1.5 * w_kk - 0.5 * gram_kk @ w_kk, error, count + 1

        def going_on(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            return (carry[1] > 1e-3) & (carry[2] < 60)

        return jax.lax.while_loop(going_on, step, (start_kk, jnp.float32(jnp.inf), jnp.int32(0)))[0]
