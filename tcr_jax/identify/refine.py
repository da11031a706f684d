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

from tcr_jax.identify.evidence import Estimate, Evidence, distance, pairs, past, residual
from tcr_jax.identify.linearised import solve
from tcr_jax.identify.rows import free_entries
from tcr_jax.typing import Array

STEPS = 3
"""Of Gauss-Newton: the start is within a few standard errors, and the first step does nearly all."""


class Refined(NamedTuple):
    """The restricted estimate, and draws of its error."""

    estimate: Estimate
    draws: Estimate | None  # [s, ..]: independent draws of (estimate - truth); None where none were asked for

    def errors(self) -> Estimate:
        """Standard errors, of which there must be draws."""
        assert self.draws is not None
        return jax.tree.map(lambda draw: jnp.sqrt(jnp.square(draw).mean(axis=0)), self.draws)


def refine(evidence: Evidence, m_kk: Array, key: jax.Array, draws: int = 64) -> Refined:
    """Gauss-Newton from M, B = B' (I - M) and E = 0.

    Args:
      evidence: the unrestricted estimates.
      m_kk: the start.
      key: of the draws.
      draws: of the error, from its asymptotic normal distribution.
    """
    entry_kq = jnp.asarray(free_entries(np.asarray(evidence.b_free_lkk)))
    estimate = _start(evidence, jnp.asarray(m_kk))
    for _ in range(STEPS):
        estimate = _nearer(evidence, estimate, solve(evidence, entry_kq, estimate, *_pull(evidence, estimate)))
    noise = functools.partial(_noise, evidence, past(evidence, estimate.m_kk), key)
    errors = [solve(evidence, entry_kq, estimate, *noise(draw)) for draw in range(draws)]
    return Refined(estimate, jax.tree.map(lambda *parts: jnp.stack(parts), *errors) if errors else None)


@jax.jit
def _start(evidence: Evidence, m_kk: jax.Array) -> Estimate:
    with jax.default_matmul_precision("highest"):
        b_lkk = evidence.b_lkk @ (jnp.eye(len(m_kk)) - m_kk)
    return Estimate(b_lkk=jnp.where(evidence.b_free_lkk, b_lkk, 0), m_kk=m_kk, off_kk=jnp.zeros_like(m_kk))


@jax.jit
def _pull(evidence: Evidence, estimate: Estimate) -> tuple[jax.Array, jax.Array]:
    """The residual, in its metric."""
    with jax.default_matmul_precision("highest"):
        weighted_kp = residual(evidence, estimate) @ past(evidence, estimate.m_kk)
    return evidence.information_k[:, None] * weighted_kp, pairs(evidence, estimate.off_kk)


@jax.jit
def _nearer(evidence: Evidence, estimate: Estimate, change: Estimate) -> Estimate:
    """Changed, if that is nearer to the unrestricted estimates."""
    either = jax.tree.map(lambda old, by: jnp.stack([old, old + by]), estimate, change)
    with jax.default_matmul_precision("highest"):
        nearer = jnp.nanargmin(jax.lax.map(functools.partial(distance, evidence), either))
    return jax.tree.map(lambda both: both[nearer], either)


@jax.jit
def _noise(evidence: Evidence, past_pp: Array, key: jax.Array, draw: Array) -> tuple[jax.Array, jax.Array]:
    """A draw of the unrestricted estimates' errors, in their metric."""
    a_k, k, size = evidence.information_k, len(evidence.information_k), len(past_pp)
    normal_kn = jax.random.normal(jax.random.fold_in(key, draw), (k, size + 2 * k))
    rows_kp, first_kk, second_kk = jnp.split(normal_kn, (size, size + k), axis=1)
    rows_kp = jnp.matmul(rows_kp, jnp.linalg.cholesky(past_pp).T, precision="highest")
    first_kk, second_kk = jnp.triu(first_kk, 1), jnp.triu(second_kk, 1)
    rest_kk = jnp.sqrt(jnp.maximum(a_k - 1 / a_k[:, None], 0))
    pairs_kk = jnp.sqrt(a_k)[:, None] * first_kk + (first_kk / jnp.sqrt(a_k)[:, None] + rest_kk * second_kk).T
    scale = 1 / jnp.sqrt(evidence.count)
    return scale * jnp.sqrt(a_k)[:, None] * rows_kp, scale * pairs_kk
