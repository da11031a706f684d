"""B that predicts activations: least squared error of the decoded prediction of x, instead of the prediction of z.

    min over B of few effects   E || y_t - W_dec^T (sum_l B_l z_{t-l} + c) ||^2  +  ridge sum_ij B_ij^2 var(source j)

with y = (x - mean) / scale - b_dec. Where concepts are more than channels, effects on concepts of like directions stand
for each other: fewer are needed, and what the dictionary leaves of x is predicted too. R^2 of z is no aim of it.
"""

import functools

import jax
import jax.numpy as jnp

from tcr_jax.closed_form.gram import gram
from tcr_jax.closed_form.moments import CodeMoments
from tcr_jax.params import Dictionary, Process
from tcr_jax.typing import Array

SHARES = (0.03, 0.08, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0)
"""Share of the effects chosen after each round."""

EXCHANGES = 3
"""Rounds that take in a third more effects, and leave out the smallest."""


def fit_decoded(dictionary: Dictionary, moments: CodeMoments, *, parents: int = 32, ridge: float = 0.1) -> Process:
    """Effects chosen by the error they take away, over all concepts and lags at once; weights by conjugate gradients.

    Rounds of stagewise pursuit (Donoho, Tsaig, Drori and Starck 2012, doi 10.1109/TIT.2011.2173241): those of largest
    gradient join, all are fitted again. An iteration costs l k^2 (l k + d) products and needs the Gram matrix of the
    past in memory.

    Args:
      dictionary: the moments' own.
      moments: collected with `decoded=True`.
      parents: effects a concept receives on average: some receive more, some none.
      ridge: penalty of a weight, as a share of its source's variance.

    Raises:
      ValueError: the moments were collected without `decoded`, or without lags.
    """
    if moments.decoded is None or not moments.lags:
        raise ValueError("the moments lack the activations or the past; collect them with decoded=True and lags >= 1")
    k, lags, tokens = moments.latents, moments.lags, moments.tokens
    mean_k, mean_f = moments.sum_lk[0] / tokens, moments.sum_lk[1:].reshape(-1) / tokens
    covariance_ff = jnp.asarray(gram(moments)[k:, k:]) / tokens - jnp.outer(mean_f, mean_f)
    mean_d = moments.decoded.sum_d / tokens
    cross_df = jnp.concatenate(moments.decoded.cross_ldk, axis=1) / tokens - jnp.outer(mean_d, mean_f)
    deviation_f = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance_ff), 0))
    unit_f = jnp.where(deviation_f > 0, 1 / jnp.where(deviation_f > 0, deviation_f, 1), 0)
    covariance_ff *= unit_f[:, None] * unit_f
    effects = min(parents * k, int((deviation_f > 0).sum()) * k)
    b_kf = _pursuit(dictionary.decoder_kd, covariance_ff, cross_df * unit_f, effects, ridge) * unit_f
    # the intercept's decoded sum brings the prediction to the mean: by the mean code, and least norm for the rest
    missing_d = mean_d - mean_k @ dictionary.decoder_kd
    intercept_k = mean_k - b_kf @ mean_f + jnp.linalg.lstsq(dictionary.decoder_kd.T, missing_d)[0]
    return Process(b_kf.reshape(k, lags, k).transpose(1, 0, 2), None, intercept_k)


def _pursuit(decoder_kd: Array, covariance_ff: Array, cross_df: Array, effects: int, ridge: float) -> jax.Array:
    b_kf = jnp.zeros((len(decoder_kd), len(covariance_ff)))
    chosen_kf = jnp.zeros(b_kf.shape, bool)
    for share in SHARES:
        gain_kf = jnp.where(chosen_kf, jnp.inf, jnp.abs(_slope(b_kf, decoder_kd, covariance_ff, cross_df)))
        chosen_kf = _largest(gain_kf, round(share * effects))
        b_kf = _refit(b_kf, chosen_kf, decoder_kd, covariance_ff, cross_df, ridge)
    more = min(effects + effects // 3, b_kf.size)
    for _ in range(EXCHANGES):
        gain_kf = jnp.where(chosen_kf, jnp.inf, jnp.abs(_slope(b_kf, decoder_kd, covariance_ff, cross_df)))
        b_kf = _refit(b_kf, _largest(gain_kf, more), decoder_kd, covariance_ff, cross_df, ridge)
        chosen_kf = _largest(jnp.abs(b_kf), effects)
        b_kf = _refit(jnp.where(chosen_kf, b_kf, 0), chosen_kf, decoder_kd, covariance_ff, cross_df, ridge)
    return b_kf


@jax.jit
def _slope(b_kf: Array, decoder_kd: Array, covariance_ff: Array, cross_df: Array) -> jax.Array:
    """Minus half the gradient of the error."""
    error_df = cross_df - jnp.matmul(jnp.matmul(decoder_kd.T, b_kf), covariance_ff, precision="highest")
    return jnp.matmul(decoder_kd, error_df, precision="highest")


def _largest(size_kf: Array, count: int) -> jax.Array:
    """The `count` largest entries (more only where entries tie)."""
    return size_kf >= jnp.partition(size_kf.reshape(-1), -count)[-count]


@functools.partial(jax.jit, static_argnames="iterations")
def _refit(
    b_kf: Array,
    chosen_kf: Array,
    decoder_kd: Array,
    covariance_ff: Array,
    cross_df: Array,
    ridge: float,
    iterations: int = 12,
) -> jax.Array:
    """Conjugate gradients on the chosen effects, from where they are."""
    nothing_df = jnp.zeros_like(cross_df)

    def product(direction_kf: jax.Array) -> jax.Array:
        curved_kf = ridge * direction_kf - _slope(direction_kf, decoder_kd, covariance_ff, nothing_df)
        return jnp.where(chosen_kf, curved_kf, 0)

    target_kf = jnp.where(chosen_kf, _slope(jnp.zeros_like(b_kf), decoder_kd, covariance_ff, cross_df), 0)
    return jax.scipy.sparse.linalg.cg(product, target_kf, x0=b_kf, maxiter=iterations, tol=1e-5)[0]
