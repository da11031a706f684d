"""Independent component analysis of white residuals: the rotation whose outputs are least Gaussian.

The start of the search decides how much data it needs: with the soft contrast here a random rotation is enough from
about k^2 / 10 tokens of Laplace innovations on, where the usual tanh(y) needs more (see experiments/results).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.typing import Array

SLOPE = 0.5
"""Of the contrast log cosh(SLOPE y): soft, so that the many weak pulls towards the components add up."""

CONVERGED = 1e-4
"""How far, in 1 - |cosine|, the least settled component may still move an iteration."""

STUCK = 0.08
"""Correlation of y_i^2 and y_j^2 from which on two outputs are taken for mixtures of the same two components."""


class Rotation(NamedTuple):
    """y = rotation_kk r."""

    rotation_kk: jax.Array
    iterations: int
    moving: float  # 1 - |cosine| of the least settled component in the last iteration


def fast_ica(
    residual_nk: Array, key: jax.Array, iterations: int = 300, observe: Callable[[int, float], None] | None = None
) -> Rotation:
    """Symmetric FastICA from a random rotation, with pairs that got stuck half-way turned by 45 degrees.

    w_i <- E[g(w_i r) r] - E[g'(w_i r)] w_i, all rows then made orthonormal together; g(y) = tanh(SLOPE y).
    Source: Hyvarinen 1999, "Fast and robust fixed-point algorithms for independent component analysis".

    Args:
      residual_nk: white residuals.
      key: of the start.
      iterations: at most.
      observe: called with the iteration and how much is still moving.
    """
    k = residual_nk.shape[1]
    rotation_kk = orthonormal(jax.random.normal(key, (k, k)))
    moving, kept, nearest = 1.0, rotation_kk, -jnp.inf
    for iteration in range(1, iterations + 1):
        rotation_kk, moved = _iterate(rotation_kk, residual_nk)
        moving = float(moved)
        if observe is not None:
            observe(iteration, moving)
        if moving < CONVERGED:
            contrast = _contrast(rotation_kk, residual_nk)
            if contrast <= nearest * (1 + 1e-4):  # the last turn has gained nothing: scales that vary together
                rotation_kk = kept
                break
            stuck = _stuck_pairs(np.asarray(_square_correlation(rotation_kk, residual_nk)))
            if not len(stuck):
                break
            kept, nearest = jnp.copy(rotation_kk), contrast
            rotation_kk = _turn(rotation_kk, stuck)
    return Rotation(rotation_kk, iteration, moving)


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


@functools.partial(jax.jit, donate_argnums=0)
def _iterate(rotation_kk: jax.Array, residual_nk: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The next rotation, and 1 - |cosine| of the row that moved most."""
    with jax.default_matmul_precision("highest"):
        g_nk = jnp.tanh(SLOPE * (residual_nk @ rotation_kk.T))
        slope_k = SLOPE * (1 - jnp.square(g_nk).mean(axis=0))
        next_kk = g_nk.T @ residual_nk / len(residual_nk) - slope_k[:, None] * rotation_kk
    next_kk = orthonormal(next_kk)
    cosine_k = jnp.sum(next_kk * rotation_kk, axis=1)
    return next_kk * jnp.sign(cosine_k)[:, None], 1 - jnp.abs(cosine_k).min()


@jax.jit
def _contrast(rotation_kk: jax.Array, residual_nk: jax.Array) -> jax.Array:
    """Sum over outputs of (E[log cosh(SLOPE y)] - the same of a Gaussian)^2: how far from Gaussian they are."""
    node_q, weight_q = np.polynomial.hermite_e.hermegauss(40)
    gaussian = float(weight_q @ np.log(np.cosh(SLOPE * node_q)) / weight_q.sum())
    mean_k = jnp.log(jnp.cosh(SLOPE * (residual_nk @ rotation_kk.T))).mean(axis=0)
    return jnp.square(mean_k - gaussian).sum()


@jax.jit
def _square_correlation(rotation_kk: jax.Array, residual_nk: jax.Array) -> jax.Array:
    """Correlation matrix of y^2, clipped so that no outlier decides it."""
    square_nk = jnp.minimum(jnp.square(residual_nk @ rotation_kk.T), 25.0)
    square_nk = (square_nk - square_nk.mean(axis=0)) / square_nk.std(axis=0)
    return jnp.matmul(square_nk.T, square_nk, precision="highest") / len(square_nk)


def _stuck_pairs(correlation_kk: np.ndarray) -> np.ndarray:
    """Pairs (i, j), each component in one at most, strongest first."""
    correlation_kk = np.abs(correlation_kk)  # negative where the components are sub-Gaussian
    i, j = np.nonzero(np.triu(correlation_kk, 1) > STUCK)
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for a, b in sorted(zip(i.tolist(), j.tolist(), strict=True), key=lambda pair: -correlation_kk[pair]):
        if not {a, b} & taken:
            pairs.append((a, b))
            taken |= {a, b}
    return np.array(pairs, int).reshape(-1, 2)


def _turn(rotation_kk: jax.Array, pairs: np.ndarray) -> jax.Array:
    """Each pair of rows by 45 degrees."""
    a, b = rotation_kk[pairs[:, 0]], rotation_kk[pairs[:, 1]]
    rotation_kk = rotation_kk.at[pairs[:, 0]].set((a + b) / jnp.sqrt(2.0))
    return rotation_kk.at[pairs[:, 1]].set((a - b) / jnp.sqrt(2.0))
