"""What is left of columns without their noise: posterior means and variances."""

import numpy as np
import pytest

from tcr_jax.identify.denoising import denoised

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("share", "size"), [(0.02, 1.0), (0.1, 0.2), (0.5, 0.1), (1.0, 0.05)])
def test_nearer_to_the_truth_than_the_data_or_a_threshold(share: float, size: float) -> None:
    """Sparse or dense, large effects or small: less squared error than keeping all, or what passes 3.5 errors."""
    x_rk = np.where(RNG.random((20_000, 2)) < share, size * RNG.normal(size=(20_000, 2)), 0)
    y_rk = x_rk + 0.05 * RNG.normal(size=x_rk.shape)
    mean_rk, variance_rk = denoised(y_rk, np.full_like(y_rk, 0.05))
    error = np.square(mean_rk - x_rk).mean()
    assert error < np.square(y_rk - x_rk).mean()
    assert error < np.square(np.where(np.abs(y_rk) > 3.5 * 0.05, y_rk, 0) - x_rk).mean()
    assert variance_rk.mean() == pytest.approx(error, rel=0.25)  # it knows how far off it is


def test_columns_do_not_touch_each_other_and_noise_may_differ_by_entry() -> None:
    """A column's answer is the same beside any other; an entry with a larger error is trusted less."""
    y_rk = RNG.normal(size=(200, 3)) * np.array([0.01, 0.1, 1.0])
    deviation_rk = RNG.uniform(0.01, 0.2, size=y_rk.shape)
    together, alone = denoised(y_rk, deviation_rk), denoised(y_rk[:, 1:2], deviation_rk[:, 1:2])
    np.testing.assert_allclose(together.mean_rk[:, 1:2], alone.mean_rk)
    y_rk[:2, 2], deviation_rk[:2, 2] = 0.5, (0.02, 0.2)
    sure, unsure = denoised(y_rk, deviation_rk).mean_rk[:2, 2]
    assert 0.5 > sure > unsure > 0


def test_noise_alone_leaves_next_to_nothing_and_nothing_leaves_nothing() -> None:
    """The share of effects falls to what one entry is."""
    noise_rk = RNG.normal(size=(2000, 2))
    assert np.square(denoised(noise_rk, np.ones_like(noise_rk)).mean_rk).mean() < 0.02
    assert not denoised(np.zeros((50, 2)), np.ones((50, 2))).mean_rk.any()
