"""The process in closed form: dense by ridge, or sparse by forward selection and an exact refit."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from tcr_jax.closed_form.gram import gram, lag_table, support_gram
from tcr_jax.closed_form.moments import CodeMoments, collect_moments
from tcr_jax.closed_form.order import variance_order
from tcr_jax.closed_form.parents import forward_selection
from tcr_jax.params import Dictionary, Process
from tcr_jax.store import Batch
from tcr_jax.typing import Array


def fit_process(
    dictionary: Dictionary,
    batches: Iterable[Batch],
    *,
    lags: int,
    ridge: float = 0.03,
    parents: int | None = 32,
    instantaneous: bool = True,
) -> Process:
    """B, M and the intercept of least squared error on the codes of a frozen dictionary, in one pass over batches.

    Args:
      dictionary: as trained; it is not changed.
      batches: of training documents.
      lags: tokens back.
      ridge: penalty of a weight, as a share of its source's variance.
      parents: effects a concept receives at most, over all lags and M together; None for all of them.
      instantaneous: whether there is M, in `variance_order`.

    Raises:
      ValueError: no token has `lags` earlier tokens in its own document.
    """
    moments = collect_moments(dictionary, batches, lags)
    return fit_moments(moments, ridge=ridge, parents=parents, rank_k=present_order(moments) if instantaneous else None)


def present_order(moments: CodeMoments) -> jax.Array:
    """`variance_order` of the concepts within a token."""
    mean_k = moments.sum_lk[0] / moments.tokens
    return variance_order(moments.cross_lkk[0] / moments.tokens - jnp.outer(mean_k, mean_k))


def fit_moments(
    moments: CodeMoments,
    *,
    lags: int | None = None,
    ridge: float = 0.03,
    parents: int | None = 32,
    rank_k: Array | None = None,
) -> Process:
    """The same from moments that are kept, so that many fits cost one pass.

    Args:
      moments: from `collect_moments`.
      lags: lags used: all of the moments' by default, 0 for M alone.
      ridge: see `fit_process`.
      parents: see `fit_process`. Without, all (lags + 1) k sources at once, which takes their Gram matrix in memory.
      rank_k: place of each concept in the order within a token; None for no M.
    """
    lags = moments.lags if lags is None else lags
    if not 0 <= lags <= moments.lags:
        raise ValueError(f"lags={lags}: the moments hold 0 to {moments.lags}; collect them with more lags")
    if parents is None:
        return _dense(moments, lags, ridge, rank_k)
    table_jhk = lag_table(moments)
    found = forward_selection(
        table_jhk, moments.sum_lk / moments.tokens, rank_k, parents=parents, lags=lags, ridge=ridge
    )
    source_kp = jnp.where(found.gain_kp > 0, found.source_kp, -1)
    return fit_support(moments, source_kp, lags=lags, ridge=ridge, table_jhk=table_jhk)


def fit_support(
    moments: CodeMoments,
    source_kp: Array | np.ndarray,
    *,
    lags: int | None = None,
    ridge: float = 0.03,
    table_jhk: Array | None = None,
) -> Process:
    """Least squares on given parents: source a k + j is concept j at lag a (0: the token itself), negative is none."""
    k, lags = moments.latents, moments.lags if lags is None else lags
    present_kp = jnp.asarray(source_kp) >= 0
    source_kp = jnp.where(present_kp, source_kp, 0)
    table_jhk = lag_table(moments) if table_jhk is None else table_jhk
    mean_f = moments.sum_lk.reshape(-1) / moments.tokens
    mean_kp, mean_k = mean_f[source_kp], mean_f[:k]
    lag_kp, concept_kp = jnp.divmod(source_kp, k)
    gram_kpp = support_gram(moments, table_jhk, source_kp) - mean_kp[:, :, None] * mean_kp[:, None, :]
    cross_kp = table_jhk[jnp.arange(k)[:, None], moments.lags + lag_kp, concept_kp] - mean_k[:, None] * mean_kp
    weight_kp = jnp.where(present_kp, _solve(gram_kpp, jnp.where(present_kp, cross_kp, 0), present_kp, ridge), 0)
    effect_lkk = jnp.zeros((lags + 1, k, k)).at[lag_kp, jnp.arange(k)[:, None], concept_kp].add(weight_kp)
    return _process(effect_lkk[1:], effect_lkk[0], mean_k - (weight_kp * mean_kp).sum(axis=1))


@jax.jit
def _solve(gram_kpp: jax.Array, cross_kp: jax.Array, present_kp: jax.Array, ridge: float) -> jax.Array:
    """Every target's own system, its rows and columns scaled to unit variance; absent parents get nothing."""
    variance_kp = jnp.diagonal(gram_kpp, axis1=1, axis2=2)
    unit_kp = jnp.where(present_kp, jax.lax.rsqrt(jnp.maximum(variance_kp, 1e-30)), 0)
    system_kpp = gram_kpp * unit_kp[:, :, None] * unit_kp[:, None, :]
    system_kpp += jnp.eye(gram_kpp.shape[1]) * jnp.where(present_kp, ridge, 1)[:, None, :]
    factor_kpp = jnp.linalg.cholesky(system_kpp)
    half_kp1 = jax.lax.linalg.triangular_solve(factor_kpp, (cross_kp * unit_kp)[..., None], left_side=True, lower=True)
    weight_kp1 = jax.lax.linalg.triangular_solve(factor_kpp, half_kp1, left_side=True, lower=True, transpose_a=True)
    return weight_kp1[..., 0] * unit_kp


def _dense(moments: CodeMoments, lags: int, ridge: float, rank_k: Array | None) -> Process:
    """One Cholesky of [past; present in order] = L L^T: rows of L of the present hold B and a triangular M together.

    With L = [[P, 0], [Q, R]], z = Q P^{-1} past + (triangular) R: the prediction of each concept from the past and the
    concepts before it is (I - M) z = B past + eps with I - M = diag(R) R^{-1} and B = diag(R) R^{-1} Q P^{-1}.
    """
    k, size = moments.latents, (lags + 1) * moments.latents
    order_k = np.arange(k) if rank_k is None else np.argsort(np.asarray(rank_k))
    index_f = np.concatenate([np.arange(k, size), order_k])
    mean_f = np.asarray(moments.sum_lk, np.float64)[: lags + 1].reshape(-1) / moments.tokens
    covariance_ff = gram(moments)[:size, :size][np.ix_(index_f, index_f)].astype(np.float64) / moments.tokens
    covariance_ff -= np.outer(mean_f[index_f], mean_f[index_f])
    past = size - k
    variance_f = np.maximum(covariance_ff.diagonal(), 1e-12)
    covariance_ff[np.diag_indices(size)] += ridge * variance_f
    if not lags and rank_k is None:
        raise ValueError("lags=0 without an order within the token leaves nothing to fit")
    factor_ff = scipy.linalg.cholesky(covariance_ff, lower=True, overwrite_a=True)
    through_kf, lower_kk = factor_ff[past:, :past], factor_ff[past:, past:]
    b_kf = scipy.linalg.solve_triangular(factor_ff[:past, :past], through_kf.T, lower=True, trans="T").T
    m_kk = np.zeros((k, k))
    if rank_k is not None:
        inverse_kk = scipy.linalg.solve_triangular(lower_kk, np.eye(k), lower=True)
        whole_kk = inverse_kk * lower_kk.diagonal()[:, None]
        m_kk, b_kf = np.tril(np.eye(k) - whole_kk, -1), whole_kk @ b_kf
    back_k = np.argsort(order_k)
    m_kk, b_kf = m_kk[np.ix_(back_k, back_k)], b_kf[back_k]
    b_lkk = b_kf.reshape(k, lags, k).transpose(1, 0, 2)
    intercept_k = mean_f[:k] - m_kk @ mean_f[:k] - b_kf @ mean_f[k:]
    return _process(jnp.float32(b_lkk), jnp.float32(m_kk), jnp.float32(intercept_k))


def _process(b_lkk: jax.Array, m_kk: jax.Array, intercept_k: jax.Array) -> Process:
    """No lags, no B; no effects within the token, no M."""
    return Process(b_lkk=b_lkk if len(b_lkk) else None, m_kk=m_kk if m_kk.any() else None, intercept_k=intercept_k)
