"""The fixed-point iteration of FastICA, for all components together or for each apart.

    w <- E[g(w r) r] - E[g'(w r)] w,   g(y) = tanh(SLOPE y),   then of unit norm again

Source: Hyvarinen 1999, "Fast and robust fixed-point algorithms for independent component analysis".
"""

import functools

import jax
import jax.numpy as jnp

from tcr_jax.identify.parts import average
from tcr_jax.typing import Array

SLOPE = 0.5
"""Of the contrast log cosh(SLOPE y): soft, so that the many weak pulls towards the components add up."""


@functools.partial(jax.jit, donate_argnums=0)
def iterate_together(rotation_kk: Array, residual_nk: Array) -> tuple[jax.Array, jax.Array]:
    """The next rotation, its rows made orthonormal all at once; and 1 - |cosine| between each row and what it was."""
    return _moved(rotation_kk, orthonormal(_drawn(rotation_kk, residual_nk)))


@functools.partial(jax.jit, donate_argnums=0)
def iterate_apart(direction_mk: Array, residual_nk: Array) -> tuple[jax.Array, jax.Array]:
    """The next directions, each on its own: several may go to one component, and none is pushed off its way."""
    drawn_mk = _drawn(direction_mk, residual_nk)
    return _moved(direction_mk, drawn_mk / jnp.linalg.norm(drawn_mk, axis=1, keepdims=True))


def _drawn(direction_mk: Array, residual_nk: Array) -> jax.Array:
    def means(residual_nk: jax.Array) -> tuple[jax.Array, jax.Array]:
        g_nm = jnp.tanh(SLOPE * (residual_nk @ direction_mk.T))
        return g_nm.T @ residual_nk / len(residual_nk), SLOPE * (1 - jnp.square(g_nm).mean(axis=0))

    with jax.default_matmul_precision("highest"):
        pull_mk, slope_m = average(means, residual_nk)
        return pull_mk - slope_m[:, None] * direction_mk


def _moved(before_mk: Array, after_mk: jax.Array) -> tuple[jax.Array, jax.Array]:
    cosine_m = jnp.sum(after_mk * before_mk, axis=1)
    return after_mk * jnp.sign(cosine_m)[:, None], 1 - jnp.abs(cosine_m)


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
