"""The best estimate of B, M and the unmixing together, once it is known which effects are zero; and standard errors.

The unrestricted maximum-likelihood estimates, U and B' = U Phi U^{-1}, are independent of each other and nearly normal:

    (I - E) U is the true unmixing,     (E_ij, E_ji) ~ N(0, [[a_i, 1], [1, a_j]]^{-1} / n)
    row i of B' in true coordinates     ~ N(truth, (a_i G)^{-1} / n)

with a_i = E[phi_i'] and G the covariance of z' over the lags. The restricted estimate is the nearest point, in that
metric, that has the form B (I - M)^{-1} with the given zeros: as efficient as maximum likelihood with those zeros, and
it needs no further pass over the data. Source: minimum-distance estimation, e.g. Newey and McFadden 1994, section 9.
"""

import functools
from collections.abc import Callable
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
    evidence: Evidence, m_kk: Array, key: jax.Array, draws: int = 64, steps: int = 3, iterations: int = 15
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

        def step(_: int, estimate: Estimate) -> Estimate:
            problem = _linearised(evidence, estimate, iterations)
            residual = problem.pull_back(problem.distance_kp, estimate.off_kk)
            moved = jax.tree.map(jnp.subtract, estimate, problem.solve(residual))
            nearer = _squared(evidence, moved) < _squared(evidence, estimate)
            return jax.tree.map(lambda new, old: jnp.where(nearer, new, old), moved, estimate)

        estimate = jax.lax.fori_loop(0, steps, step, estimate)
        problem = _linearised(evidence, estimate, iterations)
        keys = jax.random.split(key, draws)
        return Refined(estimate, jax.lax.map(lambda key: problem.solve(_noise(evidence, problem, key)), keys))


def _distance(evidence: Evidence, estimate: Estimate) -> jax.Array:
    """B' seen from the true coordinates, less B (I - M)^{-1}: [k, l k], rows are targets."""
    off_kk, b_lkk = estimate.off_kk, evidence.b_lkk
    total_kk = jnp.linalg.inv(jnp.eye(len(off_kk)) - estimate.m_kk)
    d_lkk = b_lkk - off_kk @ b_lkk + b_lkk @ off_kk - estimate.b_lkk @ total_kk
    return d_lkk.transpose(1, 0, 2).reshape(len(off_kk), -1)


def _squared(evidence: Evidence, estimate: Estimate) -> jax.Array:
    """The distance from the unrestricted estimates that is to be least."""
    d_kp, off_kk, a_k = _distance(evidence, estimate), estimate.off_kk, evidence.information_k
    return jnp.vdot(a_k[:, None] * (d_kp @ evidence.past_pp), d_kp) + jnp.vdot(a_k[:, None] * off_kk + off_kk.T, off_kk)


class _Linearised(NamedTuple):
    """The problem around an estimate, r = distance + J x, with the metric W of the unrestricted estimates."""

    distance_kp: jax.Array
    pull: Callable[[jax.Array], Estimate]  # J^T
    pull_back: Callable[[jax.Array, jax.Array], Estimate]  # J^T W
    solve: Callable[[Estimate], Estimate]  # (J^T W J)^{-1}


def _linearised(evidence: Evidence, estimate: Estimate, iterations: int) -> _Linearised:
    a_k = evidence.information_k
    distance_kp, move = jax.linearize(functools.partial(_distance, evidence), estimate)
    transposed = jax.linear_transpose(move, estimate)

    def pull(weighted_kp: jax.Array) -> Estimate:
        return _free(evidence, transposed(weighted_kp)[0])

    def pull_back(r_kp: jax.Array, off_kk: jax.Array) -> Estimate:
        gradient = pull(a_k[:, None] * (r_kp @ evidence.past_pp))
        return _free(evidence, gradient.replace(off_kk=gradient.off_kk + a_k[:, None] * off_kk + off_kk.T))

    def normal(x: Estimate) -> Estimate:
        x = _free(evidence, x)
        return pull_back(move(x), x.off_kk)

    diagonal = _diagonal(evidence, estimate)

    def precondition(x: Estimate) -> Estimate:
        return jax.tree.map(lambda value, scale: value / jnp.maximum(scale, 1e-6), x, diagonal)

    def solve(right: Estimate) -> Estimate:
        return _free(evidence, cg(normal, right, maxiter=iterations, tol=1e-5, M=precondition)[0])

    return _Linearised(distance_kp, pull, pull_back, solve)


def _free(evidence: Evidence, estimate: Estimate) -> Estimate:
    """Zero where nothing may move."""
    return Estimate(
        b_lkk=jnp.where(evidence.b_free_lkk, estimate.b_lkk, 0),
        m_kk=jnp.where(evidence.m_free_kk, estimate.m_kk, 0),
        off_kk=jnp.where(jnp.eye(len(estimate.m_kk), dtype=bool), 0, estimate.off_kk),
    )


def _diagonal(evidence: Evidence, estimate: Estimate) -> Estimate:
    """About the diagonal of J^T W J."""
    a_k, (lags, k, _) = evidence.information_k, estimate.b_lkk.shape
    total_kk = jnp.linalg.inv(jnp.eye(k) - estimate.m_kk)
    past_lkk = jnp.stack([evidence.past_pp[i * k : (i + 1) * k, i * k : (i + 1) * k] for i in range(lags)])
    reach_lk = jnp.stack([jnp.sum((total_kk @ past_kk) * total_kk, axis=1) for past_kk in past_lkk])
    bprime_lkk = estimate.b_lkk @ total_kk
    power_lk = jnp.einsum("i,lij->lj", a_k, jnp.square(bprime_lkk))
    driven_k = jnp.sum((bprime_lkk @ past_lkk) * bprime_lkk, axis=(0, 2))
    return Estimate(
        b_lkk=a_k[:, None] * reach_lk[:, None, :],
        m_kk=jnp.einsum("la,lb->ab", power_lk, reach_lk),
        off_kk=a_k[:, None] * (1 + driven_k) + jnp.einsum("li,ljj->ij", power_lk, past_lkk),
    )


def _noise(evidence: Evidence, problem: _Linearised, key: jax.Array) -> Estimate:
    """A draw of J^T W r for the noise r of the unrestricted estimates."""
    a_k, k = evidence.information_k, len(evidence.information_k)
    row_key, *pair_keys = jax.random.split(key, 3)
    lower_pp = jnp.linalg.cholesky(evidence.past_pp)
    rows_kp = jax.random.normal(row_key, (k, len(lower_pp))) @ lower_pp.T
    gradient = problem.pull(jnp.sqrt(a_k)[:, None] * rows_kp)
    first_kk, second_kk = (jnp.triu(jax.random.normal(pair_key, (k, k)), 1) for pair_key in pair_keys)
    rest_kk = jnp.sqrt(jnp.maximum(a_k - 1 / a_k[:, None], 0))
    pairs_kk = jnp.sqrt(a_k)[:, None] * first_kk + (first_kk / jnp.sqrt(a_k)[:, None] + rest_kk * second_kk).T
    right = _free(evidence, gradient.replace(off_kk=gradient.off_kk + pairs_kk))
    return jax.tree.map(lambda value: value / jnp.sqrt(evidence.count), right)
