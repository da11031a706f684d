"""Laws of the recovery of planted relations."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Process
from tcr_jax.yardsticks.planted import (
    Pair,
    delayed_coefficients,
    instantaneous_coefficients,
    label_concepts,
    label_correlations,
    recover,
)

K = 12


def test_likeness_to_a_label_is_the_correlation() -> None:
    """As NumPy has it, of float16 codes too; zero for a concept that never varies."""
    random = np.random.default_rng(0)
    label_nl = random.random((500, 2)) < (0.1, 0.3)
    z_nk = (random.random((500, K)) * (random.random((500, K)) < 0.2) + 0.5 * label_nl[:, :1]).astype(np.float16)
    z_nk[:, 5] = 2
    found_kl = label_correlations(z_nk, label_nl)
    with np.errstate(invalid="ignore"):
        expected = np.corrcoef(z_nk.T.astype(float), label_nl.T.astype(float))[:K, K:]
    np.testing.assert_allclose(found_kl, np.nan_to_num(expected), atol=1e-5)
    assert (found_kl[5] == 0).all()


def test_each_label_has_a_concept_of_its_own() -> None:
    """Of all ways to give them different ones, that of the largest sum of |correlations|; the sign is no matter."""
    likeness_kl = np.array([[0.9, 0.8, 0.1], [0.7, 0.1, 0.2], [0.0, 0.2, -0.6], [0.1, 0.1, 0.1]])
    assert label_concepts(likeness_kl).tolist() == [1, 0, 2]
    random_kl = np.random.default_rng(0).normal(size=(K, 3))
    best = max(itertools.permutations(range(K), 3), key=lambda ks: np.abs(random_kl[ks, range(3)]).sum())
    assert tuple(label_concepts(random_kl)) == best


def test_coefficients_do_not_depend_on_units() -> None:
    """A concept in other units has other weights and another spread, and the same coefficients."""
    random = np.random.default_rng(0)
    b_lkk, m_kk, std_k = random.normal(size=(3, K, K)), np.tril(random.normal(size=(K, K)), -1), random.random(K) + 0.5
    unit_k = random.random(K) + 0.5
    first = Process(jnp.array(b_lkk), jnp.array(m_kk), None)
    ratio_kk = unit_k[:, None] / unit_k
    second = Process(jnp.array(b_lkk * ratio_kk), jnp.array(m_kk * ratio_kk), None)
    for coefficients in (delayed_coefficients, instantaneous_coefficients):
        expected = coefficients(first, std_k)
        np.testing.assert_allclose(coefficients(second, std_k * unit_k), expected, rtol=1e-4)
    assert expected[2, 5] == expected[5, 2] > 0
    assert delayed_coefficients(first, std_k)[2, 5] == pytest.approx(
        max(abs(b_lkk[:, 2, 5])) * std_k[5] / std_k[2], rel=1e-4
    )


def test_a_pair_above_all_others_has_rank_one() -> None:
    """Its score is its ratio to the others' root mean square, with the concepts' effects on themselves left out."""
    size_kk = np.full((K, K), 0.5)
    np.fill_diagonal(size_kk, 100)
    size_kk[4, 2] = 3
    found = recover(size_kk, Pair(source=2, target=4))
    assert found == (3.0, pytest.approx(6.0), 1.0, 1, 1)
    below = recover(size_kk, Pair(source=4, target=2))
    assert (below.rank, below.rank_of_target) == (2, 1)
    assert below.auroc == pytest.approx(1 - (1 + (K * K - K - 2) / 2) / (K * K - K - 1))
    beside = recover(size_kk, Pair(source=5, target=4))
    assert (beside.rank, beside.rank_of_target) == (2, 2)


def test_what_else_was_planted_is_no_false_find() -> None:
    """Another planted pair, however large, takes no rank and is none of the others; unknown to us, it does and is."""
    size_kk = np.full((K, K), 0.5)
    size_kk[4, 2], size_kk[7, 3], size_kk[4, 3] = 2, 9, 8
    told = recover(size_kk, Pair(2, 4), [Pair(3, 7), Pair(3, 4)])
    assert (told.score, told.rank, told.rank_of_target) == (pytest.approx(4.0), 1, 1)
    untold = recover(size_kk, Pair(2, 4))
    assert untold.score < 4 and (untold.rank, untold.rank_of_target) == (3, 2)


def test_a_pair_among_noise_is_at_chance() -> None:
    """Over all pairs of a random matrix AUROC averages one half."""
    size_kk = np.random.default_rng(0).random((K, K))
    auroc = [recover(size_kk, Pair(j, i)).auroc for i in range(K) for j in range(K) if i != j]
    assert np.mean(auroc) == pytest.approx(0.5)


def test_what_cannot_be_scored_is_named() -> None:
    """A label on no token, one concept for both labels, a process without the part that is asked for."""
    with pytest.raises(ValueError, match="label 1: 0 of 5 tokens carry it"):
        label_correlations(np.ones((5, K)), np.array([[1, 0]] + 4 * [[0, 0]]))
    with pytest.raises(ValueError, match="both concept 3"):
        recover(np.ones((K, K)), Pair(3, 3))
    with pytest.raises(ValueError, match="no delayed effects"):
        delayed_coefficients(Process(None, jnp.eye(K), None), np.ones(K))
    with pytest.raises(ValueError, match="no instantaneous effects"):
        instantaneous_coefficients(Process(jnp.zeros((1, K, K)), None, None), np.ones(K))
