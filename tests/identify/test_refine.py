"""Refinement: the best estimate with the given zeros, and how far it is off."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from tcr_jax.identify.evidence import Estimate, Evidence
from tcr_jax.identify.refine import Refined, refine

K, LAGS, COUNT, DRAWS = 4, 2, 10_000.0, 1000
OFF_KK = ~np.eye(K, dtype=bool)


def truth() -> tuple[np.ndarray, np.ndarray]:
    """(B, M), sparse, M acyclic."""
    rng = np.random.default_rng(0)
    b_lkk = rng.uniform(0.2, 0.4, (LAGS, K, K)) * (rng.random((LAGS, K, K)) < 0.4)
    m_kk = np.zeros((K, K))
    m_kk[2, 0], m_kk[3, 1] = 0.5, -0.6
    return b_lkk, m_kk


B_LKK, M_KK = truth()
PLACES = np.concatenate(
    [np.flatnonzero(B_LKK), B_LKK.size + np.flatnonzero(M_KK), B_LKK.size + K**2 + np.flatnonzero(OFF_KK)]
)
"""Of everything that may move, among B, M and `off_kk` one after the other."""


def past() -> np.ndarray:
    """Some covariance of z' over the lags."""
    root_pp = np.random.default_rng(1).normal(size=(LAGS * K, LAGS * K)) / 3
    return np.eye(LAGS * K) + root_pp @ root_pp.T


PAST_PP, INFORMATION_K = past(), np.array([2.0, 1.8, 1.5, 1.3])


def refined(noise: float) -> tuple[np.ndarray, Refined]:
    """B' with its noise, and what is made of it."""
    rng = np.random.default_rng(2)
    b_lkk = B_LKK @ np.linalg.inv(np.eye(K) - M_KK)
    error_kp = rng.normal(size=(K, LAGS * K)) @ np.linalg.inv(np.linalg.cholesky(PAST_PP))
    error_kp /= np.sqrt(COUNT * INFORMATION_K)[:, None]
    b_lkk = b_lkk + noise * error_kp.reshape(K, LAGS, K).transpose(1, 0, 2)
    evidence = Evidence(
        b_lkk=jnp.float32(b_lkk),
        past_pp=jnp.float32(PAST_PP),
        information_k=jnp.float32(INFORMATION_K),
        count=jnp.float32(COUNT),
        b_free_lkk=jnp.asarray(B_LKK != 0),
        m_free_kk=jnp.asarray(M_KK != 0),
    )
    return b_lkk, refine(evidence, jnp.float32(M_KK), jax.random.key(0), draws=DRAWS)


def flat(estimate: Estimate) -> np.ndarray:
    """What may move, of one estimate or of draws."""
    parts = [estimate.b_lkk, estimate.m_kk, estimate.off_kk]
    single = np.ndim(estimate.m_kk) == 2
    rows = [np.reshape(part, (1 if single else len(part), -1)) for part in parts]
    free = np.concatenate(rows, axis=1)[:, PLACES].astype(np.float64)
    return free[0] if single else free


def weighted(theta: np.ndarray, b_lkk: np.ndarray) -> np.ndarray:
    """Residuals whose sum of squares is the distance, as the module's equations define it."""
    every = np.zeros(B_LKK.size + 2 * K**2)
    every[PLACES] = theta
    of_b, of_m, of_off = np.split(every, [B_LKK.size, B_LKK.size + K**2])
    off_kk, identity_kk = of_off.reshape(K, K), np.eye(K)
    d_lkk = b_lkk - off_kk @ b_lkk + b_lkk @ off_kk
    d_lkk = d_lkk - of_b.reshape(LAGS, K, K) @ np.linalg.inv(identity_kk - of_m.reshape(K, K))
    d_kp = d_lkk.transpose(1, 0, 2).reshape(K, -1) @ np.linalg.cholesky(PAST_PP) * np.sqrt(INFORMATION_K)[:, None]
    pairs = []
    for i in range(K):
        for j in range(i):
            metric = np.array([[INFORMATION_K[i], 1], [1, INFORMATION_K[j]]])
            pairs.append(np.linalg.cholesky(metric).T @ [off_kk[i, j], off_kk[j, i]])
    return np.concatenate([d_kp.ravel(), *pairs])


@pytest.fixture(scope="module")
def noisy() -> tuple[np.ndarray, Refined]:
    return refined(noise=1.0)


def test_the_truth_stays() -> None:
    """Without noise the start, the truth, is the answer."""
    _, found = refined(noise=0.0)
    np.testing.assert_allclose(found.estimate.b_lkk, B_LKK, atol=1e-5)
    np.testing.assert_allclose(found.estimate.m_kk, M_KK, atol=1e-5)
    np.testing.assert_allclose(found.estimate.off_kk, 0, atol=1e-5)


def test_no_point_is_nearer(noisy: tuple[np.ndarray, Refined]) -> None:
    """A general least-squares solver comes to the same B, M and unmixing; what is given as zero stays zero."""
    b_lkk, found = noisy
    best = scipy.optimize.least_squares(
        weighted, flat(Estimate(b_lkk=B_LKK, m_kk=M_KK, off_kk=np.zeros((K, K)))), args=(b_lkk,)
    )
    start = np.abs(best.x - flat(Estimate(b_lkk=B_LKK, m_kk=M_KK, off_kk=np.zeros((K, K))))).max()
    np.testing.assert_allclose(flat(found.estimate), best.x, atol=0.01 * start)
    assert not np.asarray(found.estimate.b_lkk)[B_LKK == 0].any()
    assert not np.asarray(found.estimate.m_kk)[M_KK == 0].any()


def test_the_gradient_vanishes(noisy: tuple[np.ndarray, Refined]) -> None:
    """By finite differences of the distance, against those at the truth."""
    b_lkk, found = noisy

    def gradient(theta: np.ndarray) -> np.ndarray:
        steps = 1e-5 * np.eye(len(theta))
        return (
            np.array([np.sum(weighted(theta + h, b_lkk) ** 2 - weighted(theta - h, b_lkk) ** 2) for h in steps]) / 2e-5
        )

    at_truth = gradient(flat(Estimate(b_lkk=B_LKK, m_kk=M_KK, off_kk=np.zeros((K, K)))))
    assert np.abs(gradient(flat(found.estimate))).max() < 0.02 * np.abs(at_truth).max()


def test_draws_have_the_covariance_of_the_estimate(noisy: tuple[np.ndarray, Refined]) -> None:
    """The inverse of the dense Hessian, over the number of tokens: of every parameter and pair of them."""
    b_lkk, found = noisy
    theta = flat(found.estimate)
    steps = 1e-5 * np.eye(len(theta))
    jacobian = np.stack([weighted(theta + h, b_lkk) - weighted(theta - h, b_lkk) for h in steps], axis=1) / 2e-5
    expected = np.linalg.inv(jacobian.T @ jacobian) / COUNT
    drawn = flat(found.draws)
    deviation = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(np.sqrt((drawn**2).mean(axis=0)), deviation, rtol=4 / np.sqrt(2 * DRAWS))
    correlation = (drawn / deviation).T @ (drawn / deviation) / DRAWS
    np.testing.assert_allclose(correlation, expected / np.outer(deviation, deviation), atol=5 / np.sqrt(DRAWS))
