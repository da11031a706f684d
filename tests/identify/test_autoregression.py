"""The vector autoregression: least squares, and residuals that are white."""

import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.autoregression import whitening_regression
from tcr_jax.identify.lagged import lagged
from tcr_jax.identify.moments import Moments, add_moments, no_moments

K, LAGS = 3, 2


def moments_of(x_btd: np.ndarray) -> Moments:
    document_bt = np.repeat(np.arange(len(x_btd))[:, None], x_btd.shape[1], axis=1)
    return add_moments(no_moments(x_btd.shape[2], LAGS), jnp.float32(x_btd), jnp.asarray(document_bt))


def test_residuals_are_those_of_least_squares_made_white() -> None:
    """The residuals span those of lstsq with an intercept, with unit covariance, and no past predicts them."""
    rng = np.random.default_rng(0)
    x_btd = rng.normal(size=(20, 60, K)).cumsum(axis=1) * 0.3 + rng.normal(size=(20, 60, K)) + 2
    moments = moments_of(x_btd)
    lagged_nf, scored_n = lagged(jnp.float32(x_btd), jnp.repeat(jnp.arange(20)[:, None], 60, axis=1), LAGS)
    pairs_nf = np.asarray(lagged_nf, np.float64)[np.asarray(scored_n)]
    present_nk = pairs_nf[:, :K]
    design_np = np.concatenate([pairs_nf[:, K:], np.ones((len(pairs_nf), 1))], axis=1)
    expected_nk = present_nk - design_np @ np.linalg.lstsq(design_np, present_nk, rcond=None)[0]
    matrix_kf = np.asarray(whitening_regression(moments), np.float64)
    residual_nk = (pairs_nf - np.asarray(moments.mean_f)) @ matrix_kf.T
    np.testing.assert_allclose(residual_nk.T @ residual_nk / len(residual_nk), np.eye(K), atol=1e-3)
    np.testing.assert_allclose(residual_nk.T @ pairs_nf[:, K:] / len(residual_nk), 0, atol=1e-2)
    np.testing.assert_allclose(residual_nk, expected_nk @ matrix_kf[:, :K].T, atol=1e-3)


def test_a_past_that_repeats_itself_is_not_regressed_on() -> None:
    """Two channels that are one: NaN, for the caller to explain."""
    x_btd = np.random.default_rng(1).normal(size=(5, 50, K))
    x_btd[..., 1] = x_btd[..., 0]
    assert not np.isfinite(whitening_regression(moments_of(x_btd))).all()
