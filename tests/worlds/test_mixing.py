"""The true dictionary."""

import numpy as np
import pytest

from tcr_jax.worlds import WorldConfig
from tcr_jax.worlds.mixing import draw_mixing, special_orthogonal


@pytest.mark.parametrize("width", [48, 64, 96])
@pytest.mark.parametrize("condition", [0.0, 1.0, 10.0, 1e3])
def test_columns_have_unit_norm_and_the_condition_number_is_the_one_asked_for(width: int, condition: float) -> None:
    """Both at once, whether A is square, tall or wide; beside it lies its pseudo-inverse."""
    config = WorldConfig(latents=64, width=width, condition=condition)
    a_dk, inverse_kd = draw_mixing(config, np.random.default_rng(0))
    assert a_dk.dtype == inverse_kd.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(a_dk, axis=0), 1, atol=1e-5)
    values = np.linalg.svd(a_dk.astype(float), compute_uv=False)
    if condition:
        np.testing.assert_allclose(values[0] / values[-1], condition, rtol=1e-3)
    pinv_kd = np.linalg.pinv(a_dk.astype(float))
    np.testing.assert_allclose(inverse_kd, pinv_kd, atol=1e-4 * np.abs(pinv_kd).max() * max(values[0] / values[-1], 1))


def test_no_concept_has_a_channel_of_its_own() -> None:
    """Entries of A are spread like Gaussian ones: fourth moment three times the squared second."""
    a_dk, _ = draw_mixing(WorldConfig(latents=256), np.random.default_rng(0))
    np.testing.assert_allclose((a_dk**4).mean() / (a_dk**2).mean() ** 2, 3, rtol=0.05)


def test_special_orthogonal_matrices_are_rotations() -> None:
    """Q^T Q = I and det Q = 1, for several sizes and draws."""
    for size in (2, 3, 8):
        for seed in range(4):
            q_nn = special_orthogonal(np.random.default_rng(seed), size)
            np.testing.assert_allclose(q_nn.T @ q_nn, np.eye(size), atol=1e-12)
            np.testing.assert_allclose(np.linalg.det(q_nn), 1)
