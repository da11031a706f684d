"""Deflation: what it finds is true, and where there is nothing it finds nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax.identify.contrast import by_chance, negentropies
from tcr_jax.identify.deflation import deflate
from tcr_jax.identify.fixed_point import iterate_apart

K = 256


def white(key: int, tokens: int, noise: str = "laplace") -> tuple[jax.Array, jax.Array]:
    """Residuals of unit covariance in the sample, and the components' directions among them, as columns."""
    s_nk = getattr(jax.random, noise)(jax.random.key(key), (tokens, K))
    lower_kk = jnp.linalg.cholesky(s_nk.T @ s_nk / tokens)
    return jax.scipy.linalg.solve_triangular(lower_kk, s_nk.T, lower=True).T, lower_kk


def test_every_component_found_is_true() -> None:
    """At n = k^2 / 4 several are found, each once, and with the basis of the rest they make a rotation."""
    residual_nk, direction_kk = white(0, K * K // 4)
    heard: list[str] = []
    found = deflate(residual_nk, jax.random.key(1), heard.append)
    cosine_fk = jnp.abs(found.found_fk @ direction_kk) / jnp.linalg.norm(direction_kk, axis=0)
    assert len(found.found_fk) > K / 3
    assert cosine_fk.max(axis=1).min() > 0.6
    assert len(set(cosine_fk.argmax(axis=1).tolist())) == len(found.found_fk)
    rotation_kk = jnp.concatenate(found)
    np.testing.assert_allclose(rotation_kk @ rotation_kk.T, np.eye(K), atol=1e-4)
    assert heard[-1] == f"{len(found.found_fk)} of {K} components in sight"


def test_nothing_is_found_in_gaussian_residuals() -> None:
    """Directions come to rest there too; none passes what chance reaches."""
    assert not len(deflate(white(0, K * K // 4, "normal")[0], jax.random.key(1)).found_fk)


def test_plenty_of_tokens_need_no_deflation() -> None:
    """From one token a pair of components on, all are left to the search for all at once."""
    assert len(deflate(white(0, K * K)[0], jax.random.key(1)).open_ok) == K


@pytest.mark.parametrize("ratio", [50, 100])
def test_chance_reaches_what_is_said(ratio: int) -> None:
    """The best of many directions, each led to its maximum in Gaussian residuals, reaches about that."""
    residual_nk, _ = white(0, ratio * K, "normal")
    direction_mk = jax.random.normal(jax.random.key(1), (K, K))
    direction_mk /= jnp.linalg.norm(direction_mk, axis=1, keepdims=True)
    for _ in range(60):
        direction_mk, _ = iterate_apart(direction_mk, residual_nk)
    reached = jnp.abs(negentropies(direction_mk, residual_nk)).max() / by_chance(len(residual_nk), K)
    assert 0.8 < reached < 1.2
