"""Correlations: what SciPy says of every pair, for each kind."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tcr_jax.scores import correlations

RNG = np.random.default_rng(0)
TRUE_NK, FOUND_NK = RNG.laplace(size=(60, 4)).astype(np.float32), RNG.laplace(size=(60, 3)).astype(np.float32)


def pair_by_pair(function, true_nk: np.ndarray, found_nk: np.ndarray) -> np.ndarray:
    return np.array([[function(true_n, found_n) for found_n in found_nk.T] for true_n in true_nk.T])


def test_pearson() -> None:
    """numpy.corrcoef of every pair."""
    expected_kk = pair_by_pair(lambda a, b: np.corrcoef(a, b)[0, 1], TRUE_NK, FOUND_NK)
    np.testing.assert_allclose(correlations(TRUE_NK, FOUND_NK, "pearson"), expected_kk, atol=1e-6)


def test_cosine() -> None:
    """<a, b> / (|a| |b|), offsets included."""
    true_nk, found_nk = TRUE_NK + 1, FOUND_NK - 2
    expected_kk = pair_by_pair(lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b), true_nk, found_nk)
    np.testing.assert_allclose(correlations(true_nk, found_nk, "cosine"), expected_kk, atol=1e-6)


@pytest.mark.parametrize("decimals", [8, 0])
def test_spearman(decimals: int) -> None:
    """scipy.stats.spearmanr of every pair; ties, here from rounding, share their mean rank."""
    true_nk, found_nk = TRUE_NK.round(decimals), FOUND_NK.round(decimals)
    expected_kk = pair_by_pair(lambda a, b: spearmanr(a, b).statistic, true_nk, found_nk)
    np.testing.assert_allclose(correlations(true_nk, found_nk, "spearman"), expected_kk, atol=1e-6)


def test_spearman_of_more_concepts_than_are_ranked_at_once() -> None:
    """A rank is unmoved by an increasing function: c(a, exp a) = 1 on the diagonal, however many concepts."""
    true_nk = RNG.normal(size=(20, 150)).astype(np.float32)
    np.testing.assert_allclose(np.diag(correlations(true_nk, np.exp(true_nk), "spearman")), 1, atol=1e-6)


@pytest.mark.parametrize("kind", ["pearson", "spearman", "cosine"])
def test_a_concept_that_never_varies_is_correlated_with_nothing(kind: str) -> None:
    """Zero, not NaN, and no spurious correlation of rounding errors."""
    dead = 0.0 if kind == "cosine" else 0.1
    true_nk = np.full((1001, 2), dead, np.float32)
    found_nk = np.stack([np.full(1001, 7 * dead), RNG.normal(size=1001)], axis=1).astype(np.float32)
    assert not np.asarray(correlations(true_nk, found_nk, kind)).any()


@pytest.mark.parametrize("kind", ["pearson", "spearman", "cosine"])
def test_nan_shows(kind: str) -> None:
    """A NaN among a concept's samples makes its correlations NaN, and no others."""
    broken_nk = np.where(np.arange(3) == 1, np.nan, FOUND_NK)
    nan_kk = np.isnan(correlations(TRUE_NK, broken_nk, kind))
    assert nan_kk[:, 1].all() and not nan_kk[:, [0, 2]].any()


def test_unknown_kind() -> None:
    """The message lists the choices."""
    with pytest.raises(ValueError, match="kind='kendall' is unknown; choose one of pearson, spearman, cosine"):
        correlations(TRUE_NK, FOUND_NK, "kendall")


@pytest.mark.parametrize("found_nk", [FOUND_NK[:-1], FOUND_NK[None]])
def test_other_samples(found_nk: np.ndarray) -> None:
    """The message names both shapes and the mend."""
    with pytest.raises(ValueError, match=r"shape \(60, 4\) .* pool sequences and tokens"):
        correlations(TRUE_NK, found_nk)
