"""The best estimate of B, M and the unmixing together, once it is known which effects are zero; and standard errors.

The unrestricted maximum-likelihood estimates, U and B' = U Phi U^{-1}, are independent of each other and nearly normal:

    (I - E) U is the true unmixing,     (E_ij, E_ji) ~ N(0, [[a_i, 1], [1, a_j]]^{-1} / n)
    row i of B' in true coordinates     ~ N(truth, (a_i G)^{-1} / n)

with a_i = E[phi_i'] and G the covariance of z' over the lags. The restricted estimate is the nearest point, in that
metric, that has the form B (I - M)^{-1} with the given zeros: as efficient as maximum likelihood with those zeros, and
it needs no further pass over the data. Source: minimum-distance estimation, e.g. Newey and McFadden 1994, section 9.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.sparse.linalg import cg

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


class Refined(NamedTuple):
    """The restricted estimate, and draws of its error."""

    estimate: Estimate
    draws: Estimate  # [s, ..]: independent draws of (estimate - truth)


@functools.partial(jax.jit, static_argnames=("draws", "steps", "iterations"))
def refine(
    evidence: Evidence, m_kk: Array, key: jax.Array, draws: int = 64, steps: int = 3, iterations: int = 40
) -> Refined:
    """Gauss-Newton from M, B = B' (I - M); the linear systems by conjugate gradients.

    Args:
      evidence: the unrestricted estimates.
      m_kk: the start.
      key: of the draws.
      draws: of the error, from its asymptotic normal distribution.
      steps: of Gauss-Newton.
      iterations: of conjugate gradients, each.
    """
    with jax.default_matmul_precision("highest"):
        k = len(m_kk)
        start_b_lkk = jnp.where(evidence.b_free_lkk, evidence.b_lkk @ (jnp.eye(k) - m_kk), 0)
        estimate = Estimate(b_lkk=start_b_lkk, m_kk=m_kk, off_kk=jnp.zeros((k, k)))
        for _ in range(steps):
            distance = functools.partial(_distance, evidence)
            right = jax.tree.map(jnp.negative, _pulled_back(evidence, estimate, distance(estimate), estimate.off_kk))
            step = _solve(evidence, estimate, right, iterations)
            estimate = jax.tree.map(jnp.add, estimate, step)

        def draw(key: jax.Array) -> Estimate:
            return _solve(evidence, estimate, _noise(evidence, estimate, key), iterations)

        return Refined(estimate, jax.lax.map(draw, jax.random.split(key, draws)))


def _distance(evidence: Evidence, estimate: Estimate) -> jax.Array:
    """B' seen from the true coordinates, less B (I - M)^{-1}: [k, l k], rows are targets."""
    off_kk, b_lkk = estimate.off_kk, evidence.b_lkk
    total_kk = jnp.linalg.inv(jnp.eye(len(off_kk)) - estimate.m_kk)
    d_lkk = b_lkk - off_kk @ b_lkk + b_lkk @ off_kk - estimate.b_lkk @ total_kk
    return d_lkk.transpose(1, 0, 2).reshape(len(off_kk), -1)


def _free(evidence: Evidence, estimate: Estimate) -> Estimate:
    """Zero where nothing may move."""
    k = len(estimate.m_kk)
    return Estimate(
        b_lkk=jnp.where(evidence.b_free_lkk, estimate.b_lkk, 0),
        m_kk=jnp.where(evidence.m_free_kk, estimate.m_kk, 0),
        off_kk=jnp.where(jnp.eye(k, dtype=bool), 0, estimate.off_kk),
    )


def _pulled_back(evidence: Evidence, estimate: Estimate, distance_kp: jax.Array, off_kk: jax.Array) -> Estimate:
    """J^T W r: half the gradient of the squared distance, for these residuals."""
    pull = jax.vjp(functools.partial(_distance, evidence), estimate)[1]
    (gradient,) = pull(evidence.information_k[:, None] * (distance_kp @ evidence.past_pp))
    own_kk = evidence.information_k[:, None] * off_kk + off_kk.T
    return _free(evidence, gradient.replace(off_kk=gradient.off_kk + own_kk))


def _solve(evidence: Evidence, estimate: Estimate, right: Estimate, iterations: int) -> Estimate:
    """(J^T W J) x = right, preconditioned by about the diagonal."""
    k = len(estimate.m_kk)
    a_k, lags = evidence.information_k, len(estimate.b_lkk)
    total_kk = jnp.linalg.inv(jnp.eye(k) - estimate.m_kk)
    past_lkk = jnp.stack([evidence.past_pp[i * k : (i + 1) * k, i * k : (i + 1) * k] for i in range(lags)])
    reach_lk = jnp.einsum("ja,lab,jb->lj", total_kk, past_lkk, total_kk)
    bprime_lkk = estimate.b_lkk @ total_kk
    power_lk = jnp.einsum("i,lij->lj", a_k, jnp.square(bprime_lkk))
    driven_k = jnp.einsum("lij,ljm,lim->i", bprime_lkk, past_lkk, bprime_lkk)
    diagonal = Estimate(
        b_lkk=a_k[:, None] * reach_lk[:, None, :],
        m_kk=jnp.einsum("la,lb->ab", power_lk, reach_lk),
        off_kk=a_k[:, None] * (1 + driven_k) + jnp.einsum("li,lj->ij", power_lk, jnp.einsum("ljj->lj", past_lkk)),
    )

    def normal(x: Estimate) -> Estimate:
        x = _free(evidence, x)
        moved_kp = jax.jvp(functools.partial(_distance, evidence), (estimate,), (x,))[1]
        return _pulled_back(evidence, estimate, moved_kp, x.off_kk)

    def precondition(x: Estimate) -> Estimate:
        return jax.tree.map(lambda value, scale: value / jnp.maximum(scale, 1e-6), x, diagonal)

    return _free(evidence, cg(normal, right, maxiter=iterations, tol=1e-5, M=precondition)[0])


def _noise(evidence: Evidence, estimate: Estimate, key: jax.Array) -> Estimate:
    """A draw of J^T W r for the noise r of the unrestricted estimates, over n."""
    k, a_k = len(estimate.m_kk), evidence.information_k
    for_rows, for_pairs = jax.random.split(key)
    lower_pp = jnp.linalg.cholesky(evidence.past_pp)
    weighted_kp = jnp.sqrt(a_k)[:, None] * (jax.random.normal(for_rows, (k, len(lower_pp))) @ lower_pp.T)
    (gradient,) = jax.vjp(functools.partial(_distance, evidence), estimate)[1](weighted_kp)
    first_kk = jnp.triu(jax.random.normal(for_pairs, (k, k)), 1)
    second_kk = jnp.triu(jax.random.normal(jax.random.fold_in(for_pairs, 1), (k, k)), 1)
    rest_kk = jnp.sqrt(jnp.maximum(a_k - 1 / a_k[:, None], 0))
    pairs_kk = jnp.sqrt(a_k)[:, None] * first_kk + (first_kk / jnp.sqrt(a_k)[:, None] + rest_kk * second_kk).T
    right = _free(evidence, gradient.replace(off_kk=gradient.off_kk + pairs_kk))
    return jax.tree.map(lambda value: value / jnp.sqrt(evidence.count), right)
