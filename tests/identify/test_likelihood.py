"""Newton's method: the step of the log-likelihood itself, which comes to rest at the truth."""

import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.density import Scores, fit_scores
from tcr_jax.identify.likelihood import Step, add_gradient, newton_step, no_gradient, unit_variance
from tcr_jax.identify.moments import Moments, add_moments, no_moments

TOKENS, PHI_KK = 60_000, np.array([[0.5, 0.2], [-0.3, 0.4]])
RNG = np.random.default_rng(0)
EPS_TK = np.stack([RNG.laplace(size=TOKENS) / np.sqrt(2), RNG.uniform(-1, 1, TOKENS) * np.sqrt(3)], axis=1)
SCORES = fit_scores(jnp.float32(EPS_TK[:32768]))


def stream() -> tuple[jnp.ndarray, jnp.ndarray]:
    """One document of w_t = Phi w_{t-1} + eps_t, whose true unmixing is the identity."""
    w_tk = EPS_TK.copy()
    for t in range(1, TOKENS):
        w_tk[t] += PHI_KK @ w_tk[t - 1]
    return jnp.float32(w_tk)[None], jnp.zeros((1, TOKENS), int)


W_BTK, DOCUMENT_BT = stream()
MOMENTS: Moments = add_moments(no_moments(2, 1), W_BTK, DOCUMENT_BT)
TRUTH_KF = np.concatenate([np.eye(2), -PHI_KK], axis=1)


def step(from_lagged_kf: np.ndarray, scores: Scores) -> Step:
    q_kf = jnp.float32(from_lagged_kf)
    gradient = add_gradient(no_gradient(2, 4), q_kf, MOMENTS.mean_f, scores, W_BTK, DOCUMENT_BT)
    return newton_step(q_kf, gradient, MOMENTS)


def centred() -> np.ndarray:
    w_tk = np.asarray(W_BTK[0], np.float64)
    lagged_nf = np.concatenate([w_tk[1:], w_tk[:-1]], axis=1)
    return lagged_nf - lagged_nf.mean(axis=0)


def relative_likelihood(theta: np.ndarray, from_lagged_kf: np.ndarray, lagged_nf: np.ndarray) -> float:
    """Mean log p at (I - E) Q + [0, D], the scores integrated; theta holds E_01, E_10 and D."""
    e_kk = np.array([[0, theta[0]], [theta[1], 0]])
    q_kf = (np.eye(2) - e_kk) @ from_lagged_kf
    q_kf[:, 2:] += theta[2:].reshape(2, 2)
    e_nk = lagged_nf @ q_kf.T
    integrals = [e_nk**2 / 2, np.log(np.cosh(e_nk)), np.log(np.cosh(5 * e_nk)) / 5, np.log1p(e_nk**2) / 2]
    minus_log_nk = sum(
        weight_k * of_nk for weight_k, of_nk in zip(np.asarray(SCORES.weight_mk), integrals, strict=True)
    )
    return np.linalg.slogdet(q_kf[:, :2])[1] - minus_log_nk.sum(axis=1).mean()


def test_a_step_is_newtons() -> None:
    """Near the truth: the change of U relative to U, and of the autoregression, that finite differences give."""
    start_kf = np.array([[1, 0.04], [-0.03, 1]]) @ TRUTH_KF
    start_kf[:, 2:] += 0.02
    start_kf = np.asarray(unit_variance(jnp.float32(start_kf), MOMENTS), np.float64)
    lagged_nf, h, n = centred(), 1e-3, 6
    units = h * np.eye(n)

    def at(theta: np.ndarray) -> float:
        return relative_likelihood(theta, start_kf, lagged_nf)

    middle = at(np.zeros(n))
    slope = np.array([at(u) - at(-u) for u in units]) / (2 * h)
    hessian = np.array([[at(u + v) - at(u) - at(v) + middle for v in units] for u in units]) / h**2
    theta = -np.linalg.solve(hessian, slope)
    expected_kf = (np.eye(2) - np.array([[0, theta[0]], [theta[1], 0]])) @ start_kf
    expected_kf[:, 2:] += theta[2:].reshape(2, 2)
    expected_kf = np.asarray(unit_variance(jnp.float32(expected_kf), MOMENTS))
    found_kf = np.asarray(step(start_kf, SCORES).from_lagged_kf)
    moved = np.abs(expected_kf - start_kf).max()
    assert moved > 0.02
    np.testing.assert_allclose(found_kf, expected_kf, atol=0.1 * moved)


def test_the_truth_is_where_it_rests() -> None:
    """From a wrong start the steps end within sampling error of the truth, and there the step is zero."""
    q_kf = np.asarray(unit_variance(jnp.float32(np.array([[1, 0.2], [-0.1, 1]]) @ TRUTH_KF), MOMENTS))
    for _ in range(6):
        q_kf, information_k, largest = step(q_kf, SCORES)
    truth_kf = unit_variance(jnp.float32(TRUTH_KF), MOMENTS)
    np.testing.assert_allclose(q_kf, truth_kf, atol=5 / np.sqrt(TOKENS))
    assert float(largest) < 1e-4
    assert 1.8 < information_k[0] < 2.1
    assert information_k[1] > 3


def test_gaussian_pairs_are_left_alone() -> None:
    """Where both scores are a Gaussian's no direction is better than another: the unmixing's step is zero."""
    gaussian = Scores(jnp.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    after = step(np.array([[1, 0.2], [-0.1, 1]]) @ TRUTH_KF, gaussian)
    assert float(after.largest) == 0


def test_batches_do_not_matter() -> None:
    """The gradient of two halves, one after the other, is that of the whole, less the pair between them."""
    q_kf = jnp.float32(TRUTH_KF)
    half_btk, document_bt = W_BTK.reshape(2, -1, 2), jnp.zeros((2, TOKENS // 2), int)
    whole = add_gradient(no_gradient(2, 4), q_kf, MOMENTS.mean_f, SCORES, half_btk, document_bt)
    parts = no_gradient(2, 4)
    for part in range(2):
        parts = add_gradient(parts, q_kf, MOMENTS.mean_f, SCORES, half_btk[part][None], document_bt[part][None])
    assert int(whole.count) == int(parts.count) == TOKENS - 2
    np.testing.assert_allclose(whole.cross_kf, parts.cross_kf, rtol=1e-4, atol=0.5)
    np.testing.assert_allclose(whole.slope_k, parts.slope_k, rtol=1e-4)
