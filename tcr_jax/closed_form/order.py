"""The order in which concepts of one token may act on each other."""

import jax
import jax.numpy as jnp

from tcr_jax.typing import Array


@jax.jit
def variance_order(covariance_kk: Array) -> jax.Array:
    """The rank of each concept in the order by conditional variance: next comes what the earlier ones leave least of.

    Right where all innovations have one variance (Chen, Drton and Wang 2019, arXiv 1807.03419), and greedily the order
    of least squared error. Squared error itself fits either direction of an edge: take it as a convention, not as
    evidence of direction, unless innovations are alike in scale.

    >>> import jax.numpy as jnp
    >>> variance_order(jnp.array([[2.0, 1.0], [1.0, 1.0]])).tolist()
    [1, 0]
    """
    covariance_kk = jnp.asarray(covariance_kk)
    k = len(covariance_kk)

    def step(state: tuple[jax.Array, jax.Array], place: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        left_kk, rank_k = state
        variance_k = jnp.where(rank_k < 0, jnp.diagonal(left_kk), jnp.inf)
        first = jnp.argmin(variance_k)
        column_k = left_kk[:, first]
        enough = column_k[first] > 1e-6 * covariance_kk[first, first]
        left_kk -= jnp.where(enough, jnp.outer(column_k, column_k) / jnp.where(enough, column_k[first], 1), 0)
        return (left_kk, rank_k.at[first].set(place)), None

    return jax.lax.scan(step, (covariance_kk, jnp.full(k, -1)), jnp.arange(k))[0][1]
