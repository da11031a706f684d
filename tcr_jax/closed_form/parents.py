"""The parents of every concept: forward selection on the moments."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tcr_jax.typing import Array

NOTHING = 1e-6
"""Share of a source's variance below which what the chosen parents leave of it counts as nothing."""


class Parents(NamedTuple):
    """Parents in the order in which they were chosen."""

    source_kp: jax.Array  # a k + j: concept j at lag a
    gain_kp: jax.Array  # variance of the target that each took away; 0 where none was left to choose


@functools.partial(jax.jit, static_argnames=("parents", "lags", "block"))
def forward_selection(
    table_jhk: Array, mean_lk: Array, rank_k: Array | None, *, parents: int, lags: int, ridge: float, block: int = 8
) -> Parents:
    """Up to `parents` sources for each target, each the one that takes most variance away next to those chosen before.

    Orthogonal least squares (Chen, Billings and Luo 1989, doi 10.1080/00207178908953472): a Cholesky factorisation of
    the sources' covariance whose pivots are chosen by what they explain of the target. A target costs p^2 (l + 1) k
    products beside p rows of the covariance; targets are independent, and worked on in blocks.

    Args:
      table_jhk: from `lag_table`.
      mean_lk: means, index 0 of `l` is lag 0.
      rank_k: place of each concept in the order within a token: those of lower rank may be instantaneous parents. None
        for no instantaneous parents.
      parents: p.
      lags: lags used, at most those of the table.
      ridge: added to the variance of a source, as a share of it.
      block: targets worked on together.
    """
    k, reach = len(table_jhk), table_jhk.shape[1] // 2
    mean_f = jnp.asarray(mean_lk)[: lags + 1].reshape(-1)
    power_k = table_jhk[jnp.arange(k), reach, jnp.arange(k)]
    variance_f = jnp.maximum(jnp.tile(power_k, lags + 1) - mean_f**2, 0)
    concept_f, lag_f = jnp.arange(len(mean_f)) % k, jnp.arange(len(mean_f)) // k

    def row(source: jax.Array) -> jax.Array:
        """cov(f_source, f)."""
        lag, concept = source // k, source % k
        row_lk = jax.lax.dynamic_slice(table_jhk, (concept, reach - lag, 0), (1, lags + 1, k))
        return row_lk.reshape(-1) - mean_f[source] * mean_f

    def of_target(target: jax.Array) -> Parents:
        allowed_f = lag_f > 0
        if rank_k is not None:
            allowed_f |= (rank_k[concept_f] < rank_k[target]) & (lag_f == 0)
        allowed_f &= variance_f > 0

        def choose(
            state: tuple[jax.Array, jax.Array, jax.Array], step: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array, jax.Array], Parents]:
            with_target_f, left_f, factor_pf = state
            usable_f = allowed_f & (left_f > (ridge + NOTHING) * variance_f)
            gain_f = jnp.where(usable_f, with_target_f**2 / jnp.where(usable_f, left_f, 1), 0)
            source = jnp.argmax(gain_f)
            root = jnp.sqrt(jnp.where(usable_f[source], left_f[source], 1))
            own_f = row(source).at[source].add(ridge * variance_f[source])
            new_f = jnp.where(usable_f[source], (own_f - factor_pf[:, source] @ factor_pf) / root, 0)
            with_target_f -= new_f * with_target_f[source] / root
            left_f = jnp.where(jnp.arange(len(left_f)) == source, 0, left_f - new_f**2)
            return (with_target_f, left_f, factor_pf.at[step].set(new_f)), Parents(source, gain_f[source])

        start = row(target), (1 + ridge) * variance_f, jnp.zeros((parents, len(mean_f)))
        return jax.lax.scan(choose, start, jnp.arange(parents))[1]

    return jax.lax.map(of_target, jnp.arange(k), batch_size=block)
