"""Moments: sums over actual lagged pairs, however the data are cut into batches, without loss of digits."""

import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.moments import Moments, add_moments, no_moments

K, LAGS = 3, 2
RNG = np.random.default_rng(0)
X_BTD = (RNG.normal(size=(6, 10, K)) + 0.5).astype(np.float32)
DOCUMENT_BT = np.repeat(np.arange(6)[:, None], 10, axis=1)
DOCUMENT_BT[0, 4:] = 10  # two documents in a sequence
DOCUMENT_BT[1, 3] = -1
DOCUMENT_BT[4, :] = -1
X_BTD[4] = np.nan


def summed(size: int) -> Moments:
    """Over batches of `size` sequences."""
    moments = no_moments(K, LAGS)
    for first in range(0, len(X_BTD), size):
        part = slice(first, first + size)
        moments = add_moments(moments, jnp.asarray(X_BTD[part]), jnp.asarray(DOCUMENT_BT[part]))
    return moments


def pairs() -> np.ndarray:
    """[x_t, x_{t-1}, x_{t-2}] of every token whose last three are of one document, found one by one."""
    rows = []
    for x_td, document_t in zip(X_BTD.astype(np.float64), DOCUMENT_BT, strict=True):
        for t in range(LAGS, len(x_td)):
            if document_t[t] >= 0 and len(set(document_t[t - LAGS : t + 1])) == 1:
                rows.append(np.concatenate([x_td[t - lag] for lag in range(LAGS + 1)]))
    return np.stack(rows)


def test_moments_are_sums_over_lagged_pairs() -> None:
    """Count, mean and covariance are those of the pairs found one by one: drops and boundaries count for nothing."""
    moments, pairs_nf = summed(2), pairs()
    assert int(moments.count) == len(pairs_nf)
    np.testing.assert_allclose(moments.mean_f, pairs_nf.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moments.covariance_ff, np.cov(pairs_nf.T, bias=True), rtol=1e-4, atol=1e-5)


def test_batches_do_not_matter() -> None:
    """One batch or many: the same sums."""
    whole, parts = summed(6), summed(1)
    assert int(whole.count) == int(parts.count)
    np.testing.assert_allclose(whole.sum_f, parts.sum_f, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(whole.gram_ff, parts.gram_ff, rtol=1e-5, atol=1e-5)


def test_many_small_terms_lose_nothing() -> None:
    """On top of 2^24, where float32 knows no odd numbers, a thousand terms of 1 still add up, in every sum."""
    start = no_moments(1, 0)
    large = 2.0**24
    moments = start.replace(count=start.count + large, sum_f=start.sum_f + large, gram_ff=start.gram_ff + large)
    for _ in range(1000):
        moments = add_moments(moments, jnp.ones((1, 1, 1)), jnp.zeros((1, 1), int))
    for total in (moments.count, moments.sum_f, moments.gram_ff):
        assert float(jnp.squeeze(total)) == large + 1000
