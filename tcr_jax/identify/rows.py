"""Effects on each concept as one row over all lags, and the regression of a row on those that may differ from zero."""

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.typing import Array

NUMBERS = 2**24
"""In the matrices of as many regressions as are solved at a time."""

WIDTHS = 8
"""Rows are so many entries wide, or a multiple: the same program for most data."""


def to_rows(b_lkk: Array) -> jax.Array:
    """[k, l k]: the lags side by side."""
    return jnp.swapaxes(b_lkk, 0, 1).reshape(b_lkk.shape[1], -1)


def from_rows(b_kp: Array) -> jax.Array:
    """[l, k, k], back again."""
    k = len(b_kp)
    return jnp.swapaxes(jnp.reshape(b_kp, (k, -1, k)), 0, 1)


def free_entries(free_lkk: np.ndarray) -> np.ndarray:
    """The places in each row that may differ from zero, filled up with l k: [k, most of a row, rounded up].

    >>> free_entries(np.array([[[True, False], [True, True]]])).tolist()
    [[0, 2], [0, 1]]
    """
    free_kp = np.swapaxes(free_lkk, 0, 1).reshape(free_lkk.shape[1], -1)
    place_kp = np.where(free_kp, np.arange(free_kp.shape[1]), free_kp.shape[1])
    most = int(free_kp.sum(axis=1).max())
    return np.sort(place_kp, axis=1)[:, : max(WIDTHS * -(-most // WIDTHS), 1)]


def regress(covariance_pp: Array, entry_kq: Array, right_kp: Array) -> jax.Array:
    """For every row the b, zero but for its free entries F, with b_F = covariance_FF^{-1} right_F."""
    size = len(covariance_pp)

    def row(of: tuple[jax.Array, jax.Array]) -> jax.Array:
        entry_q, right_p = of
        gram_qq = covariance_pp.at[entry_q[:, None], entry_q].get(mode="fill", fill_value=0)
        factor = jax.scipy.linalg.cho_factor(gram_qq + jnp.diag(jnp.where(entry_q < size, 0.0, 1.0)))
        b_q = jax.scipy.linalg.cho_solve(factor, right_p.at[entry_q].get(mode="fill", fill_value=0))
        return jnp.zeros(size).at[entry_q].set(b_q, mode="drop")

    at_a_time = max(1, NUMBERS // entry_kq.shape[1] ** 2)
    return jax.lax.map(row, (entry_kq, right_kp), batch_size=min(at_a_time, len(entry_kq)))
