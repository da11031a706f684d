"""The matching is the best of all permutations; MCC is blind to numbering, sign and units, and to nothing else."""

from itertools import permutations

import numpy as np
import pytest

from tcr_jax.scores import match, mcc

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (3, 6), (6, 3)])
def test_brute_force(shape: tuple[int, int]) -> None:
    """No one-to-one pairing, of all there are, has a greater sum of |similarity|."""
    for _ in range(10):
        weight_kk = RNG.normal(size=shape)
        matching = match(weight_kk)
        wide_kk = np.abs(weight_kk if shape[0] <= shape[1] else weight_kk.T)
        best = max(
            sum(wide_kk[row, column] for row, column in enumerate(columns))
            for columns in permutations(range(max(shape)), min(shape))
        )
        np.testing.assert_allclose(np.abs(matching.similarity_k).sum(), best)
        used = matching.found_k[matching.found_k >= 0]
        assert len(used) == len(set(used)) == min(shape)


def test_matching_names_the_pairs() -> None:
    """similarity_k is the signed entry at (i, found_i); a true concept without a counterpart has -1 and 0."""
    weight_kk = np.array([[0.1, 0.2], [-0.9, 0.3], [0.2, 0.8]])
    matching = match(weight_kk)
    assert matching.found_k.tolist() == [-1, 0, 1]
    assert matching.similarity_k.tolist() == [0, -0.9, 0.8]


def test_a_permutation_is_undone() -> None:
    """Hidden among noise at k = 300, the permutation comes back."""
    order = RNG.permutation(300)
    weight_kk = 0.1 * RNG.normal(size=(300, 300))
    weight_kk[np.arange(300), order] -= 1
    np.testing.assert_array_equal(match(weight_kk).found_k, order)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value: float) -> None:
    """The message names the pair."""
    with pytest.raises(ValueError, match=r"similarity_kk\[1, 0\] is .* not finite"):
        match(np.array([[1.0, 0.0], [value, 1.0]]))


def test_no_concepts() -> None:
    """The message says what is wanted."""
    with pytest.raises(ValueError, match=r"shape \(0, 3\) must be \[true, found\]"):
        match(np.zeros((0, 3)))


@pytest.mark.parametrize("kind", ["pearson", "spearman", "cosine"])
def test_mcc_ignores_numbering_sign_and_units(kind: str) -> None:
    """z and a signed, rescaled permutation of it score 1, down to the worst concept."""
    z_nk = RNG.laplace(size=(200, 6))
    score = mcc(z_nk, z_nk[:, RNG.permutation(6)] * [-2, 1, 3, -1, 0.1, 5], kind)
    np.testing.assert_allclose([score.mean, score.median, score.worst, score.above_99], 1, atol=1e-6)


def test_mcc_figures() -> None:
    """Mean, median, worst and the share over .99 are those of |c|, with 0 for the concept that is missing."""
    cosine = np.array([1, 0.5, 0])
    found_nk = np.array([[1, 0, 0, 0], [0, -0.5, 0, np.sqrt(0.75)]]).T
    score = mcc(np.eye(4)[:, :3], found_nk, "cosine")
    assert score.matching.found_k.tolist() == [0, 1, -1]
    expected = [cosine.mean(), 0.5, 0, 1 / 3]
    np.testing.assert_allclose([score.mean, score.median, score.worst, score.above_99], expected, atol=1e-6)
