"""The best estimate of B, M and the unmixing together, once it is known which effects are zero; and standard errors.

The restricted estimate is the one nearest to the unrestricted ones, in the metric of their errors (see `evidence`),
that has the form B' = B (I - M)^{-1} with the given zeros: as efficient as maximum likelihood with those zeros, and it
needs no further pass over the data. Source: minimum-distance estimation, e.g. Newey and McFadden 1994, section 9.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.evidence import Estimate, Evidence, distance, pairs, past, residual, seen
from tcr_jax.identify.linearised import Linearised, linearised
from tcr_jax.identify.rows import free_entries, from_rows, regress
from tcr_jax.typing import Array

STEPS = 3
"""Of Gauss-Newton: the start is within a few standard errors, and the first step does nearly all."""


class Refined(NamedTuple):
    """The restricted estimate, and draws of its error."""

    estimate: Estimate
    draws: Estimate  # [s, ..]: independent draws of (estimate - truth)


def refine(evidence: Evidence, m_kk: Array, key: jax.Array, draws: int = 64) -> Refined:
    """Gauss-Newton from M and E = 0. Given these two, each row of B is a regression, solved exactly.

    Args:
      evidence: the unrestricted estimates.
      m_kk: the start.
      key: of the draws.
      draws: of the error, from its asymptotic normal distribution.
    """
    entry_kq = jnp.asarray(free_entries(np.asarray(evidence.b_free_lkk)))
    return _refine(evidence, entry_kq, jnp.asarray(m_kk), key, draws)


@functools.partial(jax.jit, static_argnames="draws")
def _refine(evidence: Evidence, entry_kq: jax.Array, m_kk: jax.Array, key: jax.Array, draws: int) -> Refined:
    a_k = evidence.information_k

    def step(_: int, estimate: Estimate) -> Estimate:
        problem = linearised(evidence, entry_kq, estimate)
        weighted_kp = a_k[:, None] * (residual(evidence, estimate) @ problem.past_pp)
        move = problem.solve(weighted_kp, pairs(evidence, estimate.off_kk))
        after = _given(evidence, entry_kq, estimate.m_kk + move.m_kk, estimate.off_kk + move.off_kk)
        nearer = distance(evidence, after) < distance(evidence, estimate)
        return jax.tree.map(lambda new, old: jnp.where(nearer, new, old), after, estimate)

    with jax.default_matmul_precision("highest"):
        start = _given(evidence, entry_kq, m_kk, jnp.zeros_like(m_kk))
        estimate = jax.lax.fori_loop(0, STEPS, step, start)
        draw = functools.partial(_draw, evidence, entry_kq, linearised(evidence, entry_kq, estimate))
        return Refined(estimate, jax.lax.map(draw, jax.random.split(key, draws)))


def _given(evidence: Evidence, entry_kq: jax.Array, m_kk: jax.Array, off_kk: jax.Array) -> Estimate:
    """With the nearest B."""
    past_pp = past(evidence, m_kk)
    b_kp = regress(past_pp, entry_kq, seen(evidence, m_kk, off_kk) @ past_pp)
    return Estimate(b_lkk=from_rows(b_kp), m_kk=m_kk, off_kk=off_kk)


def _draw(evidence: Evidence, entry_kq: jax.Array, problem: Linearised, key: jax.Array) -> Estimate:
    """The error that a draw of the unrestricted estimates' errors leaves in the restricted one."""
    a_k, k = evidence.information_k, len(evidence.information_k)
    row_key, *pair_keys = jax.random.split(key, 3)
    lower_pp = jnp.linalg.cholesky(problem.past_pp)
    weighted_kp = jnp.sqrt(a_k)[:, None] * (jax.random.normal(row_key, (k, len(lower_pp))) @ lower_pp.T)
    first_kk, second_kk = (jnp.triu(jax.random.normal(pair_key, (k, k)), 1) for pair_key in pair_keys)
    rest_kk = jnp.sqrt(jnp.maximum(a_k - 1 / a_k[:, None], 0))
    pairs_kk = jnp.sqrt(a_k)[:, None] * first_kk + (first_kk / jnp.sqrt(a_k)[:, None] + rest_kk * second_kk).T
    move = problem.solve(weighted_kp, pairs_kk)
    seen_kp = weighted_kp / a_k[:, None] + problem.change(move) @ problem.past_pp
    error = Estimate(b_lkk=from_rows(regress(problem.past_pp, entry_kq, seen_kp)), m_kk=move.m_kk, off_kk=move.off_kk)
    return jax.tree.map(lambda value: value / jnp.sqrt(evidence.count), error)
