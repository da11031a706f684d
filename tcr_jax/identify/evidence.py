"""What unrestricted maximum likelihood says of B, M and the unmixing, and how far an estimate is from it.

    (I - E) U is the true unmixing,     (E_ij, E_ji) ~ N(0, [[a_i, 1], [1, a_j]]^{-1} / n)
    row i of B' in true coordinates     ~ N(truth, (a_i G)^{-1} / n)

U and B' = U Phi U^{-1} are the estimates, independent of each other; a_i = E[phi_i'], and G is the covariance of z'
over the lags. B' from the true coordinates is B' - E B' + B' E, to first order, and for the truth it is B (I - M)^{-1}.
"""

import jax
import jax.numpy as jnp
from flax import struct

from tcr_jax.identify.rows import to_rows
from tcr_jax.typing import Array


class Estimate(struct.PyTreeNode):
    """Effects, and what the unmixing is off by: true unmixing = (I - off_kk) U."""

    b_lkk: Array
    m_kk: Array
    off_kk: Array


class Evidence(struct.PyTreeNode):
    """What the data say, and which effects may differ from zero."""

    b_lkk: Array  # B', unrestricted
    past_pp: Array  # G [l k, l k]: covariance of z'_{t-1} .. z'_{t-l}
    information_k: Array  # a
    count: Array  # n, tokens
    b_free_lkk: Array
    m_free_kk: Array


@jax.jit
def past(evidence: Evidence, m_kk: Array) -> jax.Array:
    """Covariance of z = (I - M)^{-1} z' over the lags, [l k, l k]: the metric of residuals, but for a_i."""
    k, size = len(m_kk), len(evidence.past_pp)
    total_kk = jnp.linalg.inv(jnp.eye(k) - m_kk)
    past_lklk = jnp.reshape(evidence.past_pp, (size // k, k, size // k, k))
    return jnp.einsum("ia,lamb,jb->limj", total_kk, past_lklk, total_kk, optimize=True).reshape(size, size)


def pairs(evidence: Evidence, off_kk: Array) -> jax.Array:
    """a_i E_ij + E_ji: the metric of the unmixing, applied."""
    return evidence.information_k[:, None] * off_kk + off_kk.T


def residual(evidence: Evidence, estimate: Estimate) -> jax.Array:
    """(B' - E B' + B' E) (I - M) - B: [k, l k]."""
    off_kk, keep_kk = estimate.off_kk, jnp.eye(len(estimate.m_kk)) - estimate.m_kk
    turned_lkk = evidence.b_lkk - off_kk @ evidence.b_lkk + evidence.b_lkk @ off_kk
    return to_rows(turned_lkk @ keep_kk - estimate.b_lkk)


def distance(evidence: Evidence, estimate: Estimate) -> jax.Array:
    """The square of what is to be least: twice the likelihood lost, over n."""
    residual_kp, a_k = residual(evidence, estimate), evidence.information_k
    of_b = jnp.vdot(a_k[:, None] * (residual_kp @ past(evidence, estimate.m_kk)), residual_kp)
    return of_b + jnp.vdot(pairs(evidence, estimate.off_kk), estimate.off_kk)
