"""Laws of the recovery of planted relations."""

import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Process
from tcr_jax.yardsticks.planted import (
    delayed_coefficients,
    instantaneous_coefficients,
    label_concepts,
    recover,
)

K = 12


def pairs_in_order(label_n: np.ndarray, value_n: np.ndarray) -> float:
    """The share of pairs (with the label, without it) of which the first has the larger value, ties counting half."""
    with_p, without_q = value_n[label_n][:, None], value_n[~label_n]
    return float(np.mean((with_p > without_q) + 0.5 * (with_p == without_q)))


def test_a_labels_concept_has_the_highest_auroc() -> None:
    """As counted pair by pair, ties included; a concept with a negative sign tells as much."""
    random = np.random.default_rng(0)
    label_n = random.random(500) < 0.1
    z_nk = random.random((500, K)) * (random.random((500, K)) < 0.2)
    z_nk[:, 3] += 0.3 * label_n
    z_nk[:, 7] -= 0.9 * label_n
    first = label_concepts(z_nk, label_n)
    assert first.concept == 7 and first.auroc == pytest.approx(1 - pairs_in_order(label_n, z_nk[:, 7]))
    second = label_concepts(z_nk, label_n, taken=[7])
    assert second.concept == 3 and second.auroc == pytest.approx(pairs_in_order(label_n, z_nk[:, 3]))
    assert label_concepts(z_nk, label_n, concepts=[1, 2]).concept in (1, 2)


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
    found = recover(size_kk, source=2, target=4)
    assert found == (3.0, pytest.approx(6.0), 1.0, 1)
    below = recover(size_kk, source=4, target=2)
    assert below.rank == 2 and below.auroc == pytest.approx(1 - (1 + (K * K - K - 2) / 2) / (K * K - K - 1))


def test_a_pair_among_noise_is_at_chance() -> None:
    """Over all pairs of a random matrix AUROC averages one half."""
    size_kk = np.random.default_rng(0).random((K, K))
    auroc = [recover(size_kk, j, i).auroc for i in range(K) for j in range(K) if i != j]
    assert np.mean(auroc) == pytest.approx(0.5)


def test_what_cannot_be_scored_is_named() -> None:
    """A label on no token, one concept for both labels, a process without the part that is asked for."""
    with pytest.raises(ValueError, match="0 of 5 tokens carry the label"):
        label_concepts(np.ones((5, K)), np.zeros(5))
    with pytest.raises(ValueError, match="both concept 3"):
        recover(np.ones((K, K)), 3, 3)
    with pytest.raises(ValueError, match="no delayed effects"):
        delayed_coefficients(Process(None, jnp.eye(K), None), np.ones(K))
    with pytest.raises(ValueError, match="no instantaneous effects"):
        instantaneous_coefficients(Process(jnp.zeros((1, K, K)), None, None), np.ones(K))
