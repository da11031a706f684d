"""Independent component analysis of white residuals: the rotation whose outputs are least Gaussian.

Two things decide how much data it needs: a soft contrast (fixed_point.py), and a start that has some component in sight
(quadricovariance.py, deflation.py). Measured in experiments/results/synthetic.md.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.contrast import negentropies
from tcr_jax.identify.deflation import SETTLED, Observe, deflate
from tcr_jax.identify.fixed_point import iterate_together
from tcr_jax.identify.parts import average
from tcr_jax.identify.quadricovariance import leading_rotation
from tcr_jax.typing import Array

CONVERGED = 1e-4
"""How far, in 1 - |cosine|, the least settled component may still move an iteration."""

STUCK = 0.08
"""Correlation of y_i^2 and y_j^2 from which on two outputs are taken for mixtures of the same two components."""


class Rotation(NamedTuple):
    """y = rotation_kk r."""

    rotation_kk: jax.Array
    iterations: int  # of all components together
    moving: float  # 1 - |cosine| of the least settled component in the last iteration


def fast_ica(
    residual_nk: Array, key: jax.Array, iterations: int = 300, observe: Observe = lambda line: None
) -> Rotation:
    """Symmetric FastICA, with pairs that got stuck half-way turned by 45 degrees.

    Args:
      residual_nk: white residuals.
      key: of the start.
      iterations: at most, after the start.
      observe: called with a line of progress.
    """
    residual_nk = jnp.asarray(residual_nk)
    deflate_key, open_key = jax.random.split(key)
    found_fk, open_ok = deflate(residual_nk, deflate_key, observe)
    used = 0
    if len(open_ok):
        open_no = jnp.matmul(residual_nk, open_ok.T, precision="highest")
        rotation_oo = leading_rotation(open_no, open_key)
        rotation_oo, used, _ = _until(SETTLED, rotation_oo, open_no, iterations - 1, observe)
        open_ok = rotation_oo @ open_ok
    kept = rotation_kk = jnp.concatenate([found_fk, open_ok])
    nearest = -np.inf
    while True:
        rotation_kk, more, moving = _until(CONVERGED, rotation_kk, residual_nk, iterations - used, observe)
        used += more
        contrast = float(np.square(negentropies(rotation_kk, residual_nk)).sum())
        if contrast <= nearest * (1 + 1e-4):  # the last turn has gained nothing: scales that vary together
            rotation_kk = kept
            break
        stuck = _stuck_pairs(np.asarray(_square_correlation(rotation_kk, residual_nk)))
        if not len(stuck) or used == iterations:
            break
        kept, nearest = rotation_kk, contrast
        rotation_kk = _turn(rotation_kk, stuck)
    return Rotation(rotation_kk, used, moving)


def _until(
    rest: float, rotation_kk: jax.Array, residual_nk: jax.Array, iterations: int, observe: Observe
) -> tuple[jax.Array, int, float]:
    """Iterates until no component moves by more than `rest`: the rotation, the iterations, the largest move."""
    rotation_kk = jnp.copy(rotation_kk)  # iterations consume it
    for iteration in range(1, iterations + 1):
        rotation_kk, moved_k = iterate_together(rotation_kk, residual_nk)
        if iteration % 10 == 0:
            observe(f"iteration {iteration}, {float((moved_k < SETTLED).mean()):.0%} of {len(moved_k)} at rest")
        if moved_k.max() < rest:
            break
    return rotation_kk, iteration, float(moved_k.max())


@jax.jit
def _square_correlation(rotation_kk: jax.Array, residual_nk: jax.Array) -> jax.Array:
    """Correlation matrix of y^2, clipped so that no outlier decides it."""

    def moments(residual_nk: jax.Array) -> tuple[jax.Array, jax.Array]:
        square_nk = jnp.minimum(jnp.square(residual_nk @ rotation_kk.T), 25.0)
        return square_nk.mean(axis=0), jnp.matmul(square_nk.T, square_nk, precision="highest") / len(square_nk)

    mean_k, product_kk = average(moments, residual_nk)
    covariance_kk = product_kk - jnp.outer(mean_k, mean_k)
    deviation_k = jnp.sqrt(jnp.diag(covariance_kk))
    return covariance_kk / deviation_k / deviation_k[:, None]


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
