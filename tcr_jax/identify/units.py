"""The library's units: decoder rows of unit norm. Scaling concepts by n turns B_ij into n_i B_ij / n_j, M_ij too."""

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.evidence import Estimate
from tcr_jax.params import Params, Process, linear_dictionary
from tcr_jax.typing import Array


def as_params(
    unmixing_kd: np.ndarray,
    mean_d: np.ndarray,
    b_lkk: Array | np.ndarray,
    m_kk: Array | np.ndarray,
    intercept_k: Array | np.ndarray | None = None,
) -> Params:
    """z = W (x - mean), whatever its scales, and its process, as ordinary parameters.

    The decoder is W's pseudo-inverse A; a concept is multiplied by the norm of its column, and by -1 where the largest
    entry of that column is negative: the data do not tell its sign, so that something must.
    """
    decoder_kd = np.linalg.pinv(unmixing_kd).T
    largest_k = decoder_kd[range(len(decoder_kd)), np.abs(decoder_kd).argmax(axis=1)]
    norm_k = np.sign(largest_k) * np.linalg.norm(decoder_kd, axis=1)
    dictionary = linear_dictionary(norm_k[:, None] * unmixing_kd, decoder_kd / norm_k[:, None], mean_d)
    unit_kk = norm_k[:, None] / norm_k
    process = Process(
        b_lkk=jnp.asarray(unit_kk * b_lkk, jnp.float32),
        m_kk=jnp.asarray(unit_kk * m_kk, jnp.float32),
        intercept_k=None if intercept_k is None else jnp.asarray(norm_k * intercept_k, jnp.float32),
    )
    return Params(dictionary=dictionary, process=process)


@jax.jit
def standard_errors(estimate: Estimate, draws: Estimate, spread_kk: Array) -> tuple[jax.Array, jax.Array]:
    """Of B and M in these units, from draws of the estimate's error in any others.

    Args:
      estimate: the estimate.
      draws: of its error, [s, ..].
      spread_kk: A'^T A', the products of the decoder directions A' of z' = (I - M) z.
    """

    def in_units(at: Estimate) -> tuple[jax.Array, jax.Array]:
        """With A = A' (I - off)^{-1} (I - M), to first order in `off`."""
        identity_kk = jnp.eye(len(spread_kk))
        columns_kk = jnp.matmul(identity_kk + at.off_kk, identity_kk - at.m_kk, precision="highest")
        norm_k = jnp.sqrt(jnp.einsum("ik,ij,jk->k", columns_kk, spread_kk, columns_kk, precision="highest"))
        unit_kk = norm_k[:, None] / norm_k
        return unit_kk * at.b_lkk, unit_kk * at.m_kk

    def add(total: tuple[jax.Array, jax.Array], draw: Estimate) -> tuple[tuple[jax.Array, jax.Array], None]:
        moved = jax.jvp(in_units, (estimate,), (draw,))[1]
        return jax.tree.map(lambda sums, value: sums + jnp.square(value), total, moved), None

    sums, _ = jax.lax.scan(add, (jnp.zeros_like(estimate.b_lkk), jnp.zeros_like(estimate.m_kk)), draws)
    count = len(draws.m_kk)
    return jnp.sqrt(sums[0] / count), jnp.sqrt(sums[1] / count)
