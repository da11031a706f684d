"""White coordinates, and what is said where there are too few of them."""

import numpy as np
import pytest

from tcr_jax.identify import NotIdentifiable
from tcr_jax.identify.whitening import whiten

RNG = np.random.default_rng(0)


def mixtures(latents: int, width: int, condition: float = 10.0, tokens: int = 500) -> np.ndarray:
    """Laplace concepts, mixed linearly, around a mean."""
    left_kk, right_dd = (np.linalg.qr(RNG.normal(size=(n, n)))[0] for n in (latents, width))
    mixing_kd = left_kk * np.geomspace(1, 1 / condition, latents) @ right_dd[:latents]
    return (RNG.laplace(size=(tokens, latents)) @ mixing_kd + 3).astype(np.float32)


@pytest.mark.parametrize("condition", [1.0, 1e3])
def test_coordinates_are_white(condition: float) -> None:
    """Mean zero and unit covariance on the tokens they were found on, however skewed the mixing."""
    x_nd = mixtures(5, 5, condition)
    white = whiten(x_nd, None)
    w_nk = (x_nd - white.mean_d) @ white.to_white_kd.T
    np.testing.assert_allclose(w_nk.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(w_nk.T @ w_nk / len(w_nk), np.eye(5), atol=1e-6)


def test_the_spectrum_is_of_the_covariance() -> None:
    """Its eigenvalues, largest first."""
    x_nd = mixtures(4, 6)
    expected_d = np.linalg.eigvalsh(np.cov(x_nd.T, bias=True))[::-1]
    np.testing.assert_allclose(whiten(x_nd, 4).spectrum_d, expected_d, atol=1e-12)


def test_weak_directions_are_dropped() -> None:
    """Of a plane of concepts in space, with a little noise around it, the plane is kept; by default all there is."""
    x_nd = mixtures(2, 3, tokens=2000)
    assert whiten(x_nd, None).to_white_kd.shape == (2, 3)
    noisy_nd = x_nd + 1e-3 * RNG.normal(size=x_nd.shape)
    plane = np.linalg.svd(x_nd - x_nd.mean(axis=0), full_matrices=False)[2][:2]
    row_kd = whiten(noisy_nd, 2).to_white_kd
    np.testing.assert_allclose(row_kd @ plane.T @ plane, row_kd, atol=2e-3 * np.abs(row_kd).max())
    assert whiten(noisy_nd, None).to_white_kd.shape == (3, 3)


def test_a_single_channel_is_enough_for_one_concept() -> None:
    """The covariance of one channel is a number."""
    assert whiten(mixtures(1, 1), None).to_white_kd.shape == (1, 1)


def with_columns(columns: dict[int, float], latents: int = 6) -> np.ndarray:
    x_nd = mixtures(latents, latents)
    for column, value in columns.items():
        x_nd[:, column] = value
    return x_nd


REPEATED_ND = mixtures(6, 6)[:, [0, 1, 2, 0, 1, 2]]


@pytest.mark.parametrize(
    ("x_nd", "latents", "message"),
    [
        (with_columns({1: np.nan, 4: np.inf}), 6, "channels 1, 4 hold NaN or infinity: clean"),
        (
            with_columns({2: 0.1}),
            6,
            "latents=6 .* 6 channels whose first 500 tokens have rank 5: channels 2 are constant; lower latents to 5",
        ),
        (with_columns(dict.fromkeys(range(6), 0.1)), None, "all 6 channels are constant over 500 tokens"),
        (with_columns(dict.fromkeys(range(7), 0.1), 8), 8, "channels 0, 1, 2, 3, 4 and 2 more are constant"),
        (REPEATED_ND, 6, "rank 3: channels are linear mixtures of others; lower latents to 3 or less"),
        (mixtures(6, 6, tokens=5), 6, "5 tokens are too few; give more"),
        (mixtures(4, 4), 5, "latents=5 .* 4 channels: set it from 1 to 4"),
        (mixtures(4, 4), 0, "latents=0 .* set it from 1 to 4"),
    ],
    ids=["nan", "constant", "all constant", "many", "repeated", "few tokens", "narrow", "none"],
)
def test_what_cannot_be_whitened_is_explained(x_nd: np.ndarray, latents: int | None, message: str) -> None:
    """Which channels, how many dimensions there are, and what to do."""
    with pytest.raises(NotIdentifiable, match=message):
        whiten(x_nd, latents)
