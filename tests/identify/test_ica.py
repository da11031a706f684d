"""ICA: the rotation back to independent components, whatever their distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax.identify.fixed_point import orthonormal
from tcr_jax.identify.ica import _square_correlation, _stuck_pairs, _turn, fast_ica

N, K = 20_000, 6
RNG = np.random.default_rng(0)
DRAWS = {
    "laplace": [RNG.laplace] * K,
    "uniform": [RNG.uniform] * K,
    "mixed": [RNG.laplace, RNG.uniform, RNG.laplace, RNG.uniform, RNG.laplace, RNG.normal],
}


def whitened(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(Independent components, a rotation of them), both of exactly unit covariance."""
    s_nk = np.stack([draw(size=N) for draw in DRAWS[kind]], axis=1)
    s_nk -= s_nk.mean(axis=0)
    s_nk = s_nk @ np.linalg.inv(np.linalg.cholesky(s_nk.T @ s_nk / N)).T
    return s_nk, s_nk @ np.linalg.qr(RNG.normal(size=(K, K)))[0].T


@pytest.mark.parametrize("kind", DRAWS)
def test_components_are_separated(kind: str) -> None:
    """Every component is found once: super-Gaussian, sub-Gaussian, and both kinds with one Gaussian among them."""
    s_nk, residual_nk = whitened(kind)
    found = fast_ica(jnp.float32(residual_nk), jax.random.key(0))
    similarity_kk = np.abs(np.asarray(found.rotation_kk) @ residual_nk.T @ s_nk / N)
    assert sorted(similarity_kk.argmax(axis=1)) == list(range(K))
    assert similarity_kk.max(axis=1).min() > 0.995
    assert found.moving < 1e-4
    np.testing.assert_allclose(found.rotation_kk @ found.rotation_kk.T, np.eye(K), atol=1e-3)


def test_orthonormal_is_the_nearest_orthogonal_matrix() -> None:
    """The polar factor, U V^T of the singular value decomposition."""
    matrix_kk = RNG.normal(size=(K, K)) + np.eye(K)
    left_kk, _, right_kk = np.linalg.svd(matrix_kk)
    np.testing.assert_allclose(orthonormal(jnp.float32(matrix_kk)), left_kk @ right_kk, atol=2e-3)


def test_stuck_pairs_are_turned() -> None:
    """Two outputs that are each half of the same two components are noticed, and 45 degrees make them right."""
    s_nk, _ = whitened("laplace")
    s_nk = jnp.float32(s_nk)
    mixed_kk = _turn(jnp.eye(K), np.array([[1, 4]]))
    stuck = _stuck_pairs(np.asarray(_square_correlation(mixed_kk, s_nk)))
    assert stuck.tolist() == [[1, 4]]
    np.testing.assert_allclose(np.abs(_turn(mixed_kk, stuck)), np.eye(K), atol=1e-6)
    assert not len(_stuck_pairs(np.asarray(_square_correlation(jnp.eye(K), s_nk))))


def test_a_component_is_turned_with_one_other_at_most() -> None:
    """Of pairs that share a component the most dependent is taken."""
    correlation_kk = np.zeros((4, 4))
    correlation_kk[[0, 1, 2], [1, 2, 3]] = [0.2, 0.3, 0.1]
    assert _stuck_pairs(correlation_kk).tolist() == [[1, 2]]


def test_all_components_at_few_tokens() -> None:
    """At n = k^2 / 6, where deflation has to find most of them, every component is found."""
    k = 192
    s_nk = jax.random.laplace(jax.random.key(0), (k * k // 6, k))
    lower_kk = jnp.linalg.cholesky(s_nk.T @ s_nk / len(s_nk))
    found = fast_ica(jax.scipy.linalg.solve_triangular(lower_kk, s_nk.T, lower=True).T, jax.random.key(1))
    assert sorted(np.asarray(jnp.abs(found.rotation_kk @ lower_kk).argmax(axis=1)).tolist()) == list(range(k))
    np.testing.assert_allclose(found.rotation_kk @ found.rotation_kk.T, np.eye(k), atol=1e-3)


def test_one_component() -> None:
    """It is itself."""
    assert jnp.abs(fast_ica(jnp.ones((8, 1)), jax.random.key(0)).rotation_kk).tolist() == [[1.0]]


def test_the_search_is_observed() -> None:
    """`observe` hears of every tenth iteration."""
    heard: list[str] = []
    fast_ica(jax.random.normal(jax.random.key(0), (500, 4)), jax.random.key(0), iterations=30, observe=heard.append)
    assert heard[0].startswith("iteration 10, ") and heard[0].endswith(" of 4 at rest")
