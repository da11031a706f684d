"""Edge scores: each figure is its definition, computed pair by pair; the diagonal and lags as documented."""

from itertools import product

import numpy as np
import pytest

from tcr_jax.scores import edges

RNG = np.random.default_rng(0)
K = 6


def effects(*lags: int, density: float = 0.3) -> np.ndarray:
    """Few values, so that strengths tie."""
    shape = (*lags, K, K)
    return np.where(RNG.random(shape) < density, RNG.choice([-0.5, 0.2, 0.3], shape), 0)


def by_hand(true: np.ndarray, found: np.ndarray, scored: list) -> dict[str, float]:
    hits = sum(true[at] != 0 and found[at] != 0 for at in scored)
    precision = hits / sum(found[at] != 0 for at in scored)
    recall = hits / sum(true[at] != 0 for at in scored)
    edge = [abs(found[at]) for at in scored if true[at] != 0]
    none = [abs(found[at]) for at in scored if true[at] == 0]
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "auroc": np.mean([(a > b) + (a == b) / 2 for a, b in product(edge, none)]),
        "relative_error": np.sqrt(((found - true) ** 2).sum() / (true**2).sum()),
    }


def test_instantaneous_edges_by_hand() -> None:
    """All ordered pairs but the diagonal, which counts in the relative error only."""
    off_diagonal = [(i, j) for i, j in product(range(K), repeat=2) if i != j]
    for _ in range(10):
        true_kk, found_kk = effects(), effects()
        np.fill_diagonal(true_kk, 0)
        scores = edges(true_kk, found_kk)._asdict()
        for name, value in by_hand(true_kk, found_kk, off_diagonal).items():
            np.testing.assert_allclose(scores[name], value, err_msg=name)


def test_delayed_edges_by_hand() -> None:
    """All entries of all lags, the diagonal included; a reversal is two errors under both conventions."""
    everywhere = list(product(range(2), range(K), range(K)))
    for _ in range(10):
        true_lkk, found_lkk = effects(2), effects(2)
        scores = edges(true_lkk, found_lkk)._asdict()
        for name, value in by_hand(true_lkk, found_lkk, everywhere).items():
            np.testing.assert_allclose(scores[name], value, err_msg=name)
        wrong = sum((true_lkk[at] != 0) != (found_lkk[at] != 0) for at in everywhere)
        assert scores["shd_1"] == scores["shd_2"] == wrong


@pytest.mark.parametrize(
    ("found", "shd_1", "shd_2"),
    [
        ([(1, 0)], 0, 0),
        ([(0, 1)], 1, 2),  # reversed
        ([], 1, 1),  # missing
        ([(1, 0), (2, 1)], 1, 1),  # extra
        ([(1, 0), (0, 1)], 1, 1),  # an extra edge back is no reversal
        ([(0, 1), (2, 1), (1, 2)], 3, 4),  # reversed, and two extra
    ],
)
def test_structural_hamming_distance(found: list[tuple[int, int]], shd_1: int, shd_2: int) -> None:
    """The truth is 0 -> 1 alone: changes needed, with a reversal as one and as two."""
    true_kk, found_kk = np.zeros((3, 3)), np.zeros((3, 3))
    true_kk[1, 0] = 0.5
    for at in found:
        found_kk[at] = 0.1
    scores = edges(true_kk, found_kk)
    assert (scores.shd_1, scores.shd_2) == (shd_1, shd_2)


@pytest.mark.parametrize("lags", [0, 1, 3])
def test_the_truth_is_perfect(lags: int) -> None:
    """Every score of the truth itself is the best there is."""
    true = effects(lags) if lags else np.tril(effects(density=0.8), -1)
    assert edges(true, true) == (1, 1, 1, 1, 0, 0, 0)


def test_lags_that_one_lacks_are_zeros() -> None:
    """Two lags found where one is true, and the other way round."""
    true_lkk, found_lkk = effects(1), effects(2)
    padded_lkk = np.concatenate([true_lkk, np.zeros((1, K, K))])
    assert edges(true_lkk, found_lkk) == edges(padded_lkk, found_lkk)
    assert edges(found_lkk, true_lkk) == edges(found_lkk, padded_lkk)


def test_empty_graphs() -> None:
    """Nothing found: nothing wrong, nothing recalled, no ranking. Nothing true: no ranking is defined."""
    some_kk, none_kk = np.eye(3, k=1), np.zeros((3, 3))
    nothing_found, nothing_true = edges(some_kk, none_kk), edges(none_kk, some_kk)
    assert nothing_found == (1, 0, 0, 0.5, 2, 2, 1)
    assert np.isnan(nothing_true.auroc) and nothing_true._replace(auroc=0) == (0, 1, 0, 0, 2, 2, np.inf)
    assert edges(none_kk, none_kk)._replace(auroc=0) == (1, 1, 1, 0, 0, 0, 0)


@pytest.mark.parametrize("shape", [(4, 4), (1, 3, 3), (3,)])
def test_shapes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    """The message names both shapes and the mend."""
    with pytest.raises(ValueError, match=r"true of shape \(3, 3\) .* align the found process first"):
        edges(np.zeros((3, 3)), np.zeros(shape))


def test_effect_that_is_not_finite() -> None:
    """The message names the matrix and the entry."""
    with pytest.raises(ValueError, match=r"found\[0, 1\] is not finite"):
        edges(np.zeros((2, 2)), np.array([[0, np.nan], [0, 0]]))
