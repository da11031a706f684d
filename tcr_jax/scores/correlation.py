"""How alike are a true and a found concept: every pair's correlation over the samples."""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.typing import Array

Kind = Literal["pearson", "spearman", "cosine"]

RANKED_AT_ONCE = 64  # concepts: sorting all of them together would need several copies of the samples


def correlations(true_nk: Array | np.ndarray, found_nk: Array | np.ndarray, kind: Kind = "pearson") -> jax.Array:
    """c_ij = <a_i, b_j> / (|a_i| |b_j|) over the samples, for every true concept i and every found concept j.

    Args:
      true_nk: samples [n, k].
      found_nk: samples [n, k'] of the same tokens.
      kind: what a and b are. "pearson": the samples minus their mean; "spearman": their ranks (ties share their mean
        rank) minus the mean rank; "cosine": the samples as they are, which also rewards a shared offset (the measure
        of the code released with Song et al. 2025).

    Returns:
      [k, k'], float32, between -1 and 1. A concept that never varies (never differs from zero for "cosine") is
      correlated with nothing: 0. NaN among its samples makes all its correlations NaN.

    Raises:
      ValueError: `kind` is unknown, or the two do not hold the same, at least two, samples.

    >>> import numpy as np
    >>> z_nk = np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    >>> correlations(z_nk, -np.exp(z_nk), "spearman").round(3).tolist()
    [[-1.0, 0.0], [0.0, 0.0]]
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r} is unknown; choose one of {', '.join(get_args(Kind))}")
    if true_nk.ndim != 2 or found_nk.ndim != 2 or len(true_nk) != len(found_nk) or len(true_nk) < 2:
        raise ValueError(
            f"true_nk of shape {true_nk.shape} and found_nk of shape {found_nk.shape} must be [n, k] and [n, k'] with "
            "the same n of at least 2: pool sequences and tokens into one axis"
        )
    return _correlations(true_nk, found_nk, kind)


@partial(jax.jit, static_argnames="kind")
def _correlations(true_nk: Array, found_nk: Array, kind: Kind) -> jax.Array:
    unit_nk, found_unit_nk = _standardise(true_nk, kind), _standardise(found_nk, kind)
    return jnp.clip(jnp.matmul(unit_nk.T, found_unit_nk, precision="highest"), -1, 1)


def _standardise(samples_nk: Array, kind: Kind) -> jax.Array:
    """What `kind` compares of every concept, at length one; zero where it never varies."""
    samples_nk = jnp.asarray(samples_nk, jnp.float32)
    if kind == "spearman":
        samples_nk = jax.lax.map(_ranks, samples_nk.T, batch_size=RANKED_AT_ONCE).T
    size_k = jnp.linalg.norm(samples_nk, axis=0)
    if kind != "cosine":
        samples_nk = samples_nk - samples_nk.mean(axis=0)
    norm_k = jnp.linalg.norm(samples_nk, axis=0)
    resolution = 16 * jnp.finfo(jnp.float32).eps  # below it, what varies is the rounding of the mean
    return jnp.where(norm_k <= resolution * size_k, 0, samples_nk / jnp.where(norm_k == 0, 1, norm_k))


def _ranks(samples_n: jax.Array) -> jax.Array:
    """0 for the smallest sample to n - 1 for the largest; equal ones share the mean of their ranks."""
    order_n = jnp.argsort(samples_n)
    sorted_n = samples_n[order_n]
    place_n = jnp.arange(len(samples_n))
    new_n = jnp.concatenate([jnp.ones(1, bool), sorted_n[1:] != sorted_n[:-1]])
    last_n = jnp.concatenate([new_n[1:], jnp.ones(1, bool)])
    lowest_n = jax.lax.cummax(jnp.where(new_n, place_n, 0))
    highest_n = jax.lax.cummin(jnp.where(last_n, place_n, len(samples_n)), reverse=True)
    rank_n = jnp.zeros(len(samples_n)).at[order_n].set((lowest_n + highest_n) / 2)
    return jnp.where(jnp.isnan(samples_n).any(), jnp.nan, rank_n)
