"""Components one by one, where there are too few tokens to find all at once.

A random direction has a cosine of some sqrt(2 log(k) / k) with the nearest component, and the pull of that component
drowns in the noise of n tokens unless n is of the order of k^3 / log(k)^2. So the search starts from the
quadricovariance's eigenvectors, needs only a few of them to reach a component, and goes on in the space that these
leave open, where the same tokens see more. Directions move each on its own: made orthonormal together, as long as most
of them wander, they push those few off their way.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.contrast import by_chance, negentropies
from tcr_jax.identify.fixed_point import iterate_apart
from tcr_jax.identify.quadricovariance import leading_rotation
from tcr_jax.typing import Array

ITERATIONS = 20
"""Of a round, at least."""

SETTLED = 1e-2
"""1 - |cosine| of an iteration below which a direction counts as at rest."""

MARGIN = 1.25
"""By how much a component must pass what chance reaches."""

ATTEMPTS = 3
"""Rounds in a row that find nothing, each twice as long as the one before, after which the search gives up."""

Observe = Callable[[str], None]


class Deflation(NamedTuple):
    """Orthonormal rows: components found, and a basis of what they leave open."""

    found_fk: jax.Array
    open_ok: jax.Array


def deflate(residual_nk: Array, key: jax.Array, observe: Observe = lambda line: None) -> Deflation:
    """Finds components until there are as many tokens as pairs of what is left, or nothing more is found.

    Args:
      residual_nk: white residuals.
      key: of the starts.
      observe: called with a line of progress.
    """
    n, k = residual_nk.shape
    found_fk, open_ok = jnp.zeros((0, k)), jnp.eye(k)
    failures, last = 0, 0
    while n < len(open_ok) ** 2 and failures < ATTEMPTS:
        key, round_key = jax.random.split(key)
        count = int(np.clip(4 * last, len(open_ok) // 4 + 1, len(open_ok)))
        new_fo = _round(_open_part(residual_nk, open_ok), round_key, count, ITERATIONS * 2**failures)
        last = len(new_fo)
        observe(f"{len(found_fk) + last} of {k} components in sight")
        if not last:
            failures += 1
            continue
        failures = 0
        found_fk = _orthonormal_rows(jnp.concatenate([found_fk, new_fo @ open_ok]))
        open_ok = _complement(found_fk)
    return Deflation(found_fk, open_ok)


def _open_part(residual_nk: jax.Array, open_ok: jax.Array) -> jax.Array:
    """In the coordinates of the open rows; the residuals themselves, not a copy, where all are open."""
    if open_ok.shape[0] == open_ok.shape[1]:
        return residual_nk
    return jnp.matmul(residual_nk, open_ok.T, precision="highest")


def _round(residual_nk: jax.Array, key: jax.Array, count: int, iterations: int) -> jax.Array:
    """Components that are reached from the `count` most prominent eigenvectors."""
    direction_mk = leading_rotation(residual_nk, key)[:count]
    for _ in range(iterations):
        direction_mk, moved_m = iterate_apart(direction_mk, residual_nk)
    gain_m = np.abs(negentropies(direction_mk, residual_nk))
    certain_m = (np.asarray(moved_m) < SETTLED) & (gain_m > MARGIN * by_chance(*residual_nk.shape))
    return direction_mk[_distinct(np.asarray(direction_mk)[certain_m], np.flatnonzero(certain_m))]


def _distinct(direction_mk: np.ndarray, index_m: np.ndarray) -> np.ndarray:
    """One index of each group of directions that lie within 60 degrees of each other."""
    near_mm = np.tril(np.abs(direction_mk @ direction_mk.T) > 0.5, -1)
    return index_m[~near_mm.any(axis=1)]


def _orthonormal_rows(row_fk: jax.Array) -> jax.Array:
    """Of nearly orthonormal ones, each as near as it can be to what it was."""
    left_ff, _, right_fk = jnp.linalg.svd(row_fk, full_matrices=False)
    return jnp.matmul(left_ff, right_fk, precision="highest")


def _complement(row_fk: jax.Array) -> jax.Array:
    """Orthonormal rows that span what the given ones do not."""
    return jnp.linalg.qr(row_fk.T, mode="complete")[0][:, len(row_fk) :].T
