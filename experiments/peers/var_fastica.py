"""A linear process without M: vector autoregression by least squares, then FastICA of its residuals.

It finds z' = (I - M) z and B' = B (I - M)^{-1}: the floor that an estimator of M has to beat. FastICA is
scikit-learn's, with the usual contrast log cosh.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from tcr_jax.identify.autoregression import whitening_regression
from tcr_jax.identify.lagged import lagged
from tcr_jax.identify.moments import add_moments, no_moments
from tcr_jax.identify.types import Batches
from tcr_jax.identify.units import as_params
from tcr_jax.identify.whitening import whiten
from tcr_jax.params import Params

ITERATIONS = 300


class Reduced(NamedTuple):
    """z'_t = U (x_t - mean) = sum_l B'_l z'_{t-l} + c + eps_t, with innovations of unit variance. On the host."""

    unmixing_kd: np.ndarray
    mean_d: np.ndarray
    b_lkk: np.ndarray
    intercept_k: np.ndarray
    error_lkk: np.ndarray  # E_l: sampling covariance of every row of B'_l


def reduce(batches: Batches, *, latents: int, lags: int, seed: int, say: Callable[[str], None]) -> Reduced:
    """Two passes over the data; the residuals of all tokens are held at once.

    Raises:
      NotIdentifiable: the activations span fewer dimensions than `latents`.
    """
    x_btd, document_bt = next(batches())
    white = whiten(np.asarray(x_btd)[np.asarray(document_bt) >= 0], latents)
    to_white_kd, white_mean_d = jnp.asarray(white.to_white_kd, jnp.float32), jnp.asarray(white.mean_d, jnp.float32)

    @jax.jit
    def to_white(x_btd: jax.Array) -> jax.Array:
        return jnp.einsum("btd,kd->btk", x_btd - white_mean_d, to_white_kd, precision="highest")

    @jax.jit
    def residuals(x_btd: jax.Array, document_bt: jax.Array) -> tuple[jax.Array, jax.Array]:
        lagged_nf, scored_n = lagged(to_white(x_btd), document_bt, lags)
        return jnp.matmul(lagged_nf - mean_f, regression_kf.T, precision="highest"), scored_n

    moments = no_moments(latents, lags)
    for x_btd, document_bt in batches():
        moments = add_moments(moments, to_white(x_btd), document_bt)
    mean_f, regression_kf = moments.mean_f, whitening_regression(moments)
    parts = []
    for batch in batches():
        residual_nk, scored_n = residuals(*batch)
        parts.append(np.asarray(residual_nk)[np.asarray(scored_n)])
    rotation_kk = _fast_ica(np.concatenate(parts), seed, say)

    from_lagged_kf = rotation_kk @ np.asarray(regression_kf, np.float64)
    unmixing_kk, delayed_kf = np.split(from_lagged_kf, [latents], axis=1)
    b_lkk = np.stack([-block_kk @ np.linalg.inv(unmixing_kk) for block_kk in np.split(delayed_kf, lags, axis=1)])
    past_pp = np.asarray(moments.covariance_ff, np.float64)[latents:, latents:]
    to_concepts_pp = np.kron(np.eye(lags), unmixing_kk)
    error_pp = np.linalg.inv(to_concepts_pp @ past_pp @ to_concepts_pp.T) / float(moments.count)
    error_lklk = error_pp.reshape(lags, latents, lags, latents)
    return Reduced(
        unmixing_kd=unmixing_kk @ white.to_white_kd,
        mean_d=white.mean_d,
        b_lkk=b_lkk,
        intercept_k=from_lagged_kf @ np.asarray(mean_f, np.float64),
        error_lkk=np.stack([error_lklk[lag, :, lag] for lag in range(lags)]),
    )


def var_fastica(
    batches: Batches, *, latents: int, lags: int, seed: int, say: Callable[[str], None] = lambda _: None
) -> Params:
    """z' and B', dense, as parameters with M = 0."""
    unmixing_kd, mean_d, b_lkk, intercept_k, _ = reduce(batches, latents=latents, lags=lags, seed=seed, say=say)
    return as_params(unmixing_kd, mean_d, b_lkk, np.zeros((latents, latents)), intercept_k)


def _fast_ica(residual_nk: np.ndarray, seed: int, say: Callable[[str], None]) -> np.ndarray:
    """The rotation [k, k] of white residuals whose outputs are independent."""
    ica = FastICA(whiten=False, fun="logcosh", max_iter=ITERATIONS, random_state=seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        ica.fit(residual_nk)
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        say(f"warning: FastICA did not settle in {ITERATIONS} iterations on {len(residual_nk):,} tokens")
    return np.asarray(ica.components_, np.float64)
