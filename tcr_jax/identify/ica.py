"""Independent component analysis of white residuals: the rotation whose outputs are least Gaussian.

Two things decide how much data it needs: a soft contrast (fixed_point.py), and a start that has some component in
sight. That start goes in rounds, the quadricovariance's eigenvectors and a few iterations, each in the space that the
components found so far leave open, where the next are easier to find. Measured in experiments/results/synthetic.md.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.fixed_point import SLOPE, iterate, orthonormal
from tcr_jax.identify.quadricovariance import leading_rotation
from tcr_jax.typing import Array

CONVERGED = 1e-4
"""How far, in 1 - |cosine|, the least settled component may still move an iteration."""

ROUND = 16
"""Iterations of a round."""

SETTLED = 1e-2
"""1 - |cosine| in the last iteration of a round below which a component counts as found."""

STUCK = 0.08
"""Correlation of y_i^2 and y_j^2 from which on two outputs are taken for mixtures of the same two components."""

Observe = Callable[[str], None]


class Rotation(NamedTuple):
    """y = rotation_kk r."""

    rotation_kk: jax.Array
    iterations: int
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
    rotation_kk = find_start(residual_nk, key, observe)
    kept, nearest = rotation_kk, -jnp.inf
    for iteration in range(1, iterations + 1):
        rotation_kk, moved_k = iterate(rotation_kk, residual_nk)
        moving = float(moved_k.max())
        if iteration % 10 == 0:
            observe(f"iteration {iteration}, {_share(moved_k < SETTLED)} of the components settled")
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


def find_start(residual_nk: Array, key: jax.Array, observe: Observe = lambda line: None) -> jax.Array:
    """Rounds of the quadricovariance's eigenvectors and FastICA, each in the space that earlier rounds leave open.

    They end when three in four components are found, or a round has found none.
    """
    k = residual_nk.shape[1]
    found_fk, open_ok, open_no = jnp.zeros((0, k)), jnp.eye(k), jnp.asarray(residual_nk)
    while True:
        key, round_key = jax.random.split(key)
        rotation_oo = leading_rotation(open_no, round_key)
        for _ in range(ROUND):
            rotation_oo, moved_o = iterate(rotation_oo, open_no)
            if moved_o.max() < SETTLED:
                break
        settled_o, rows_ok = np.asarray(moved_o < SETTLED), rotation_oo @ open_ok
        found_fk, open_ok = jnp.concatenate([found_fk, rows_ok[settled_o]]), rows_ok[~settled_o]
        observe(f"start: {len(found_fk)} of {k} components in sight")
        if not settled_o.any() or len(open_ok) <= k / 4:
            return orthonormal(jnp.concatenate([found_fk, open_ok]))
        open_no = jnp.matmul(residual_nk, open_ok.T, precision="highest")


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


def _share(which_k: Array) -> str:
    return f"{float(jnp.mean(which_k)):.0%}"
