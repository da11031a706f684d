"""Second moments of every token with the tokens before it, summed in one pass over the data."""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from tcr_jax.identify.lagged import lagged
from tcr_jax.typing import Array


class Moments(struct.PyTreeNode):
    """Sums over tokens with full history of f = [w_t, w_{t-1}, .., w_{t-l}], with what float32 additions lost."""

    count: jax.Array
    sum_f: jax.Array
    gram_ff: jax.Array
    lost: tuple[jax.Array, jax.Array, jax.Array]
    latents: int = struct.field(pytree_node=False)

    @property
    def mean_f(self) -> jax.Array:
        return self.sum_f / self.count

    @property
    def covariance_ff(self) -> jax.Array:
        """About the mean of each lag's own tokens."""
        return self.gram_ff / self.count - jnp.outer(self.mean_f, self.mean_f)


def no_moments(latents: int, lags: int) -> Moments:
    """Sums over nothing."""
    size = (lags + 1) * latents
    sums, lost = ((jnp.zeros(()), jnp.zeros(size), jnp.zeros((size, size))) for _ in range(2))
    return Moments(*sums, lost=lost, latents=latents)


@functools.partial(jax.jit, donate_argnums=0)
def add_moments(moments: Moments, w_btk: Array, document_bt: Array) -> Moments:
    """Adds a batch. Only actual pairs count: short documents bias nothing."""
    lagged_nf, scored_n = lagged(w_btk, document_bt, len(moments.sum_f) // moments.latents - 1)
    gram_ff = jnp.matmul(lagged_nf.T, lagged_nf, precision="highest")
    sums, terms = (moments.count, moments.sum_f, moments.gram_ff), (scored_n.sum(), lagged_nf.sum(axis=0), gram_ff)
    sums, lost = zip(*map(_add, sums, moments.lost, terms), strict=True)
    return Moments(*sums, lost=lost, latents=moments.latents)


def _add(total: jax.Array, lost: jax.Array, term: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Kahan's sum: keeps what rounding loses, so that a million batches cost no digits."""
    term = term - lost
    after = total + term
    return after, (after - total) - term
