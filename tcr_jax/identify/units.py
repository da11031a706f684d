"""From innovations of unit variance to the library's units: decoder rows of unit norm."""

import jax
import jax.numpy as jnp

from tcr_jax.identify.refine import Estimate
from tcr_jax.typing import Array


def in_decoder_units(estimate: Estimate, spread_kk: Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(B, M, s): effects between concepts whose decoder rows have unit norm, and z in these units = s z.

    Args:
      estimate: in units of the innovations' standard deviations.
      spread_kk: A'^T A', the products of the decoder directions A' of z' = U w.

    A = A' (I - off)^{-1} (I - M), to first order in `off`; the columns' norms s turn B_ij into s_i B_ij / s_j.
    """
    identity_kk = jnp.eye(len(spread_kk))
    columns_kk = jnp.matmul(identity_kk + estimate.off_kk, identity_kk - estimate.m_kk, precision="highest")
    norm_k = jnp.sqrt(jnp.einsum("ik,ij,jk->k", columns_kk, spread_kk, columns_kk, precision="highest"))
    ratio_kk = norm_k[:, None] / norm_k
    return estimate.b_lkk * ratio_kk, estimate.m_kk * ratio_kk, norm_k


@jax.jit
def standard_errors(estimate: Estimate, draws: Estimate, spread_kk: Array) -> tuple[jax.Array, jax.Array]:
    """Of B and M in these units, from draws of the estimate's error."""

    def moved(draw: Estimate) -> tuple[jax.Array, jax.Array]:
        b_lkk, m_kk, _ = jax.jvp(lambda at: in_decoder_units(at, spread_kk), (estimate,), (draw,))[1]
        return b_lkk, m_kk

    def add(total: tuple[jax.Array, jax.Array], draw: Estimate) -> tuple[tuple[jax.Array, jax.Array], None]:
        return jax.tree.map(lambda sums, value: sums + jnp.square(value), total, moved(draw)), None

    sums, _ = jax.lax.scan(add, (jnp.zeros_like(estimate.b_lkk), jnp.zeros_like(estimate.m_kk)), draws)
    count = len(draws.m_kk)
    return jnp.sqrt(sums[0] / count), jnp.sqrt(sums[1] / count)
