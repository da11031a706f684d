"""The refinement's problem around an estimate, B eliminated: a linear system in M and the unmixing alone.

Given these two each row of B is a regression. What is left of a move of them, w = change(move) G less the part that B
makes up for, vanishes at B's free entries, and tells of the move by all others.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg

from tcr_jax.identify.evidence import Estimate, Evidence, pairs, past
from tcr_jax.identify.rows import from_rows, regress, to_rows
from tcr_jax.typing import Array

ITERATIONS, TOLERANCE = 60, 1e-3
"""Of conjugate gradients, most and to be reached. Stopped early, they leave the standard errors of M too small."""


class Move(NamedTuple):
    """A change of M and of what the unmixing is off by."""

    m_kk: Array
    off_kk: Array


@jax.jit
def solve(evidence: Evidence, entry_kq: Array, estimate: Estimate, weighted_kp: Array, pairs_kk: Array) -> Estimate:
    """The change of an estimate that brings a residual nearest to zero, to first order: a step of Gauss-Newton.

    Args:
      evidence: the unrestricted estimates.
      entry_kq: the free entries of B's rows, see `free_entries`.
      estimate: that is to be changed.
      weighted_kp: rows of the residual, in their metric a_i G.
      pairs_kk: the unmixing's residual, in its own.
    """
    with jax.default_matmul_precision("highest"):
        return _solve(evidence, entry_kq, estimate, jnp.asarray(weighted_kp), jnp.asarray(pairs_kk))


def _solve(
    evidence: Evidence, entry_kq: Array, estimate: Estimate, weighted_kp: jax.Array, pairs_kk: jax.Array
) -> Estimate:
    a_k, k = evidence.information_k, len(estimate.m_kk)
    past_pp = past(evidence, estimate.m_kk)
    keep_kk = jnp.eye(k) - estimate.m_kk
    bprime_lkk = estimate.b_lkk @ jnp.linalg.inv(keep_kk)

    def free(move: Move) -> Move:
        off_kk = jnp.where(jnp.eye(k, dtype=bool), 0, move.off_kk)
        return Move(jnp.where(evidence.m_free_kk, move.m_kk, 0), off_kk)

    def change(move: Move) -> jax.Array:
        """Of the residual, before B follows."""
        turned_lkk = evidence.b_lkk @ move.off_kk - move.off_kk @ evidence.b_lkk
        return to_rows(turned_lkk @ keep_kk - bprime_lkk @ move.m_kk)

    transposed = jax.linear_transpose(change, Move(estimate.m_kk, estimate.off_kk))

    def gradient(weighted_kp: jax.Array, pairs_kk: jax.Array) -> Move:
        left_kp = weighted_kp - regress(past_pp, entry_kq, weighted_kp) @ past_pp
        m_kk, off_kk = transposed(left_kp)[0]
        return free(Move(m_kk, off_kk + pairs_kk))

    def normal(move: Move) -> Move:
        move = free(move)
        return gradient(a_k[:, None] * (change(move) @ past_pp), pairs(evidence, move.off_kk))

    # Nearly the inverse: M by the entries that tell of it; E B' and B' E by Cov(z'_t) = 1 + Cov(B' past) = G_11
    variance_lk = jnp.diag(past_pp).reshape(-1, k)
    power_ljk = jnp.einsum("i,lij,lik->ljk", a_k, jnp.square(bprime_lkk), 1.0 - evidence.b_free_lkk)
    told_kk = jnp.einsum("ljk,lk->kj", power_ljk, variance_lk)
    driving_kk = jnp.diag(a_k) + jnp.einsum("lij,i,lih->jh", bprime_lkk, a_k, bprime_lkk)
    of_driving, of_past = (jax.scipy.linalg.cho_factor(part) for part in (driving_kk, evidence.past_pp[:k, :k]))

    def precondition(move: Move) -> Move:
        off_kk = jax.scipy.linalg.cho_solve(of_driving, move.off_kk)
        off_kk = jax.scipy.linalg.cho_solve(of_past, off_kk.T).T
        return free(Move(move.m_kk / jnp.maximum(told_kk, 1e-6), off_kk))

    right = jax.tree.map(jnp.negative, gradient(weighted_kp, pairs_kk))
    move = free(cg(normal, right, maxiter=ITERATIONS, tol=TOLERANCE, M=precondition)[0])
    b_kp = regress(past_pp, entry_kq, weighted_kp / a_k[:, None] + change(move) @ past_pp)
    return Estimate(b_lkk=from_rows(b_kp), m_kk=move.m_kk, off_kk=move.off_kk)
