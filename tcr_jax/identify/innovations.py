"""The innovations of a fit in numbers: do they depend on each other or on the past, and are they Gaussian?"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import chdtri, ndtri

BACK = 3
"""Tokens back to which innovations are compared."""

LARGEST_SQUARE = 25.0
"""Squares of standardised innovations are clipped here, so that no outlier decides a correlation."""

LEVEL = 0.01
"""Chance that one of all tests of a kind fails although all is well."""

GAUSSIAN = (39.6, 9.7, 4.2)
"""n (information - 1) of n Gaussian draws has the law of sum_m GAUSSIAN_m chi^2_1, with the functions of `density`."""

SEARCHED = 2.0
"""Factor by which that grows where the unmixing was sought on the same data: Gaussians reached 1.5 times the limit."""


class Innovations(NamedTuple):
    """Of e_t = z_t - M z_t - c - sum_l B_l z_{t-l}, at tokens with full history. Index h = 0 .. BACK is tokens back."""

    pairs_h: np.ndarray  # of tokens h apart that were compared
    correlation_hkk: np.ndarray  # of e_i at t and e_j at t - h
    square_correlation_hkk: np.ndarray  # of their squares, clipped
    scale_k: np.ndarray  # standard deviation
    information_k: np.ndarray  # Fisher's, of the location, at unit variance: 1 for a Gaussian, 2 for Laplace
    kurtosis_k: np.ndarray  # excess: 0 for a Gaussian, 3 for Laplace
    effective_rank: float  # of the activations' covariance C: (tr C)^2 / |C|^2
    unexplained: float  # share of the activations' variance that the dictionary does not give back
    fitted: float  # tokens behind the estimate

    @property
    def gaussian_k(self) -> np.ndarray:
        """See `nearly_gaussian`; one that never moves is none of them."""
        return (self.scale_k != 0) & nearly_gaussian(self.information_k, self.pairs_h[0])

    @property
    def expected_k(self) -> np.ndarray:
        """Correlation with the true innovation that the best estimate from as many tokens has on average.

        The unmixing's error has variance a_j / (a_i a_j - 1) / n, with information a (see `refine`); for k alike,
        1 - correlation = k a / (a^2 - 1) / 2n. Zero where two Gaussians may mix. A fit that is not the best has less.
        """
        gaussian_k = self.gaussian_k
        bias = sum(GAUSSIAN) / self.pairs_h[0]
        a_k = np.maximum(self.information_k.astype(np.float64) - bias, 1)
        off_kk = a_k / np.maximum(a_k[:, None] * a_k - 1, 1e-12) / self.fitted
        off_kk[np.outer(gaussian_k, gaussian_k)] = np.inf
        np.fill_diagonal(off_kk, 0)
        return 1 / np.sqrt(1 + off_kk.sum(axis=1))

    def chance(self, back: int) -> float:
        """Size that the largest correlation of independent innovations `back` tokens apart hardly passes.

        Both these data and those that were fitted to are finite.
        """
        pairs = self.pairs_h[back]
        if pairs < 2:
            return np.inf
        tests = len(self.pairs_h) * len(self.scale_k) ** 2
        return float(-ndtri(LEVEL / tests / 2) * np.sqrt(1 / pairs + 1 / self.fitted))

    @property
    def together(self) -> list[tuple[int, int]]:
        """Pairs (i, j) that are correlated at the same token."""
        return _strongest(np.triu(np.abs(self.correlation_hkk[0]), 1), self.chance(0))

    @property
    def late(self) -> list[tuple[int, int, int]]:
        """(h, i, j) where innovation i is correlated with j h tokens before."""
        size_hkk = np.abs(self.correlation_hkk)
        chance_h = np.array([np.inf, *map(self.chance, range(1, len(size_hkk)))])
        return _strongest(size_hkk, chance_h[:, None, None])

    @property
    def mixed(self) -> list[tuple[int, int]]:
        """Pairs whose squares are correlated at the same token, and more so than at different ones: mixtures."""
        square_hkk = np.abs(self.square_correlation_hkk)
        lasting_kk = np.maximum(square_hkk[1], square_hkk[1].T)  # scales that swing together do so for some time
        return _strongest(np.triu(square_hkk[0] - lasting_kk, 1), np.sqrt(2) * self.chance(0))

    @property
    def swinging(self) -> list[tuple[int]]:
        """Innovations whose squares are correlated with their own a token before: their scale varies."""
        return _strongest(np.abs(np.diag(self.square_correlation_hkk[1])), self.chance(1))


def nearly_gaussian(information_k: np.ndarray, tokens: float) -> np.ndarray:
    """Which innovations cannot be told from Gaussian ones, though they were chosen for not being Gaussian."""
    law = chdtri(1, LEVEL / len(information_k)) * GAUSSIAN[0] + sum(GAUSSIAN[1:])
    return ~(information_k >= 1 + SEARCHED * law / tokens)  # so that NaN is no evidence


def _strongest(size: np.ndarray, limit: float | np.ndarray) -> list[tuple[Any, ...]]:
    """Places of the entries above the limit, the largest first."""
    places = np.argwhere(size > limit)
    order = np.argsort(-size[tuple(places.T)])
    return [tuple(place) for place in places[order].tolist()]
