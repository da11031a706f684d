"""Units: decoder rows of unit norm, and nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.evidence import Estimate
from tcr_jax.identify.units import as_params, standard_errors

K, LAGS, WIDTH = 4, 2, 6
RNG = np.random.default_rng(0)
B_LKK, M_KK = RNG.normal(size=(LAGS, K, K)) * 0.3, np.tril(RNG.normal(size=(K, K)), -1)
DIRECTIONS_DK = RNG.normal(size=(WIDTH, K)) * np.array([0.1, 1, 5, 20])
SPREAD_KK = jnp.float32(DIRECTIONS_DK.T @ DIRECTIONS_DK)


def estimate(b_lkk: np.ndarray, m_kk: np.ndarray, off_kk: np.ndarray) -> Estimate:
    return Estimate(b_lkk=jnp.float32(b_lkk), m_kk=jnp.float32(m_kk), off_kk=jnp.float32(off_kk))


AT = estimate(B_LKK, M_KK, np.zeros((K, K)))


def test_units_change_and_nothing_else() -> None:
    """As parameters: unit decoder rows, an exact inverse, and innovations that are the same up to their scales."""
    rng = np.random.default_rng(1)
    unmixing_kd, mean_d = rng.normal(size=(3, 5)), rng.normal(size=5)
    b_lkk, m_kk, intercept_k = rng.normal(size=(2, 3, 3)), np.tril(rng.normal(size=(3, 3)), -1), rng.normal(size=3)
    params = as_params(unmixing_kd, mean_d, b_lkk, m_kk, intercept_k)
    dictionary, process = params.dictionary, params.process
    norm_k = (np.linalg.pinv(unmixing_kd) * dictionary.decoder_kd.T).sum(axis=0)
    np.testing.assert_allclose(np.linalg.norm(dictionary.decoder_kd, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(dictionary.encoder_kd @ dictionary.decoder_kd.T, np.eye(3), atol=1e-5)
    z_k, past_lk = rng.normal(size=3), rng.normal(size=(2, 3))
    eps_k = z_k - m_kk @ z_k - np.einsum("lij,lj->i", b_lkk, past_lk) - intercept_k
    scaled_k, scaled_lk = norm_k * z_k, norm_k * past_lk
    after_k = (
        scaled_k - process.m_kk @ scaled_k - np.einsum("lij,lj->i", process.b_lkk, scaled_lk) - process.intercept_k
    )
    np.testing.assert_allclose(after_k, norm_k * eps_k, rtol=1e-3, atol=1e-4)


def test_the_sign_of_a_concept_is_settled() -> None:
    """An unmixing with other signs is the same answer, every decoder row's largest entry positive."""
    sign_k = np.array([1, -1, -1, 1])
    unmixing_kd = np.linalg.pinv(DIRECTIONS_DK)
    one = as_params(unmixing_kd, np.zeros(WIDTH), B_LKK, M_KK, np.ones(K))
    sign_kk = sign_k[:, None] * sign_k
    other = as_params(sign_k[:, None] * unmixing_kd, np.zeros(WIDTH), sign_kk * B_LKK, sign_kk * M_KK, sign_k)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    rows_kd = np.asarray(one.dictionary.decoder_kd)
    np.testing.assert_array_equal(rows_kd.max(axis=1), np.abs(rows_kd).max(axis=1))


def test_standard_errors_are_those_of_the_changed_units() -> None:
    """The spread of B and M in decoder units over estimates that are spread like the draws, scales included."""
    count, size = 1000, 1e-3
    draws = [size * RNG.normal(size=(count, *shape)) for shape in ((LAGS, K, K), (K, K), (K, K))]
    draws[2][:, range(K), range(K)] = 0
    b_error_lkk, m_error_kk = standard_errors(AT, estimate(*draws), SPREAD_KK)
    b_slkk, m_skk = B_LKK + draws[0], M_KK + draws[1]
    directions_sdk = DIRECTIONS_DK @ np.linalg.inv(np.eye(K) - draws[2]) @ (np.eye(K) - m_skk)
    norm_sk = np.linalg.norm(directions_sdk, axis=1)
    ratio_skk = norm_sk[:, :, None] / norm_sk[:, None]
    np.testing.assert_allclose(b_error_lkk, (b_slkk * ratio_skk[:, None]).std(axis=0), rtol=0.05)
    np.testing.assert_allclose(m_error_kk, (m_skk * ratio_skk).std(axis=0), rtol=0.05)
