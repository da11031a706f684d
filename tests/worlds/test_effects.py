"""Sparse effects on the device."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from tcr_jax.worlds.effects import apply, to_device


@pytest.mark.parametrize("density", [0.0, 0.01, 0.05, 0.7])
def test_effects_are_the_matrix_product(density: float) -> None:
    """Whatever the number of parents: none, a few, as many as make the product dense."""
    rng = np.random.default_rng(0)
    matrix = sp.random_array((40, 80), density=density, rng=rng, format="csr")
    state_kb = rng.normal(size=(80, 5))
    effects = to_device(matrix)
    assert (effects.dense_kk is None) == (density < 0.1)
    np.testing.assert_allclose(apply(effects, jnp.asarray(state_kb)), matrix @ state_kb, rtol=1e-4, atol=1e-5)


def test_a_concept_with_very_many_parents_gets_a_group_of_its_own() -> None:
    """One full row among empty ones."""
    matrix = sp.csr_array(np.where(np.arange(200)[:, None] == 7, np.arange(200.0), 0))
    effects = to_device(matrix)
    assert effects.dense_kk is None and len(effects.groups) == 2
    state_kb = np.random.default_rng(0).normal(size=(200, 3))
    np.testing.assert_allclose(apply(effects, jnp.asarray(state_kb)), matrix @ state_kb, rtol=1e-4)
