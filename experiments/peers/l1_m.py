"""The direct route with an L1 norm in place of sparsity itself: the least |B|_1 + |M|_1 that explains z' and B'.

    min over M   sum_l |B'_l (I - M)|_1 + |M|_1,   M_jj = 0

is convex, and each column of M a problem of its own (least absolute deviations with a lasso). Its solution is projected
onto a DAG and solved again on the edges that are left. What is within its sampling error in B' and in B is cut.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.peers.var_fastica import reduce
from tcr_jax.acyclicity import project_to_dag
from tcr_jax.identify.types import Batches
from tcr_jax.identify.units import as_params
from tcr_jax.params import Params
from tcr_jax.typing import Array

ITERATIONS = 2000
STEP = 10.0
"""The penalty parameter of ADMM: effects are of the order of a few tenths."""

CUT = 4.0
"""Standard errors that an effect in B must exceed."""


def l1_m(
    batches: Batches, *, latents: int, lags: int, seed: int, say: Callable[[str], None] = lambda _: None
) -> Params:
    """VAR, FastICA, then the M of least L1 norm."""
    found = reduce(batches, latents=latents, lags=lags, seed=seed, say=say)
    identity_kk = np.eye(latents)
    b_pk = jnp.asarray(_cut(found.b_lkk, found.error_lkk, identity_kk).reshape(-1, latents), jnp.float32)
    free_kk = project_to_dag(least_l1(b_pk, ~jnp.eye(latents, dtype=bool)))
    m_kk = np.asarray(least_l1(b_pk, jnp.asarray(free_kk != 0)), np.float64)
    keep_kk = identity_kk - m_kk
    b_lkk = _cut(found.b_lkk, found.error_lkk, keep_kk)
    return as_params(np.linalg.solve(keep_kk, found.unmixing_kd), found.mean_d, b_lkk, m_kk, found.intercept_k)


@functools.partial(jax.jit, static_argnames="iterations")
def least_l1(b_pk: Array, allowed_kk: Array, iterations: int = ITERATIONS) -> jax.Array:
    """The M of least |B' (I - M)|_1 + |M|_1 with entries where they are allowed alone; others are exactly zero.

    Alternating directions with U = B' (I - M) and V = M kept apart (Boyd et al. 2011); V is returned.
    """
    k = b_pk.shape[1]
    factor = jax.scipy.linalg.cho_factor(b_pk.T @ b_pk + jnp.eye(k))

    def shrink(values: jax.Array) -> jax.Array:
        return jnp.sign(values) * jnp.maximum(jnp.abs(values) - 1 / STEP, 0)

    def iterate(_: int, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        u_pk, v_kk, dual_u_pk, dual_v_kk = carry
        m_kk = jax.scipy.linalg.cho_solve(factor, b_pk.T @ (b_pk - u_pk - dual_u_pk) + v_kk - dual_v_kk)
        rest_pk = b_pk - b_pk @ m_kk
        u_pk = shrink(rest_pk - dual_u_pk)
        v_kk = jnp.where(allowed_kk, shrink(m_kk + dual_v_kk), 0)
        return u_pk, v_kk, dual_u_pk + u_pk - rest_pk, dual_v_kk + m_kk - v_kk

    zeros_kk = jnp.zeros((k, k))
    with jax.default_matmul_precision("highest"):
        return jax.lax.fori_loop(0, iterations, iterate, (b_pk, zeros_kk, jnp.zeros_like(b_pk), zeros_kk))[1]


def _cut(b_lkk: np.ndarray, error_lkk: np.ndarray, keep_kk: np.ndarray) -> np.ndarray:
    """B' (I - M), zero where it is not clearly beyond its sampling error; `keep_kk` is I - M."""
    error_lk = np.sqrt(np.einsum("ij,lih,hj->lj", keep_kk, error_lkk, keep_kk))
    effect_lkk = b_lkk @ keep_kk
    return np.where(np.abs(effect_lkk) > CUT * error_lk[:, None], effect_lkk, 0)
