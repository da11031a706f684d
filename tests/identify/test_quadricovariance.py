"""The quadricovariance: its eigenmatrices know the components."""

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.quadricovariance import leading_rotation


def test_eigenvectors_are_the_components() -> None:
    """With plenty of tokens the leading eigenmatrix is diagonal in the components, in any rotation of them."""
    k = 8
    s_nk = jax.random.laplace(jax.random.key(0), (200_000, k)) / jnp.sqrt(2.0)
    rotation_kk = np.linalg.qr(np.random.default_rng(0).normal(size=(k, k)))[0].astype(np.float32)
    found_kk = leading_rotation(s_nk @ rotation_kk.T, jax.random.key(1))
    similarity_kk = np.abs(np.asarray(found_kk @ rotation_kk))
    assert sorted(similarity_kk.argmax(axis=1)) == list(range(k))
    assert np.median(similarity_kk.max(axis=1)) > 0.9


def test_components_are_in_sight_where_a_random_rotation_sees_none() -> None:
    """At n = k^2 / 2 some rows lie much nearer to a component than any of a random rotation does."""
    k = 128
    s_nk = jax.random.laplace(jax.random.key(0), (k * k // 2, k))
    lower_kk = jnp.linalg.cholesky(s_nk.T @ s_nk / len(s_nk))
    white_nk = jax.scipy.linalg.solve_triangular(lower_kk, s_nk.T, lower=True).T
    random_kk = jnp.linalg.qr(jax.random.normal(jax.random.key(2), (k, k)))[0]
    nearest, random = (
        jnp.abs(rotation_kk @ lower_kk).max()
        for rotation_kk in (leading_rotation(white_nk, jax.random.key(1)), random_kk)
    )
    assert nearest > 0.6 > 0.5 > random


def test_one_outlier_does_not_decide() -> None:
    """A token a thousand times as far out as the others leaves the rotation nearly as it was."""
    s_nk = jax.random.laplace(jax.random.key(0), (50_000, 4)) / jnp.sqrt(2.0)
    outlier_nk = s_nk.at[0].set(1000 * jnp.ones(4))
    found_kk, spoilt_kk = (leading_rotation(r_nk, jax.random.key(1)) for r_nk in (s_nk, outlier_nk))
    assert jnp.abs(found_kk @ spoilt_kk.T).max(axis=1).min() > 0.95


def test_more_products_than_matrices() -> None:
    """In one or two dimensions Lanczos's method runs out of directions, and the answer is still a rotation."""
    for k in (1, 2):
        residual_nk = jax.random.laplace(jax.random.key(0), (1000, k))
        found_kk = leading_rotation(residual_nk, jax.random.key(1))
        np.testing.assert_allclose(found_kk @ found_kk.T, np.eye(k), atol=1e-5)
