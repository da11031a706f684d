"""What comes back is counted right: blind to numbering and sign, and to nothing else."""

import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax.params import Params, Process, linear_dictionary
from tcr_jax.yardsticks.stability import chosen_pw_mcc, edge_recurrence, match_concepts, pw_mcc, stability

K, D, LAGS = 12, 30, 2


def model(rng: np.random.Generator) -> Params:
    """Random directions, a sparse B with two lags and a sparse, strictly triangular M."""
    direction_kd = rng.normal(size=(K, D))
    b_lkk = rng.normal(size=(LAGS, K, K)) * (rng.random((LAGS, K, K)) < 0.3)
    m_kk = np.tril(rng.normal(size=(K, K)), -1) * (rng.random((K, K)) < 0.3)
    return Params(
        linear_dictionary(direction_kd, direction_kd, np.zeros(D)), Process(jnp.asarray(b_lkk), jnp.asarray(m_kk), None)
    )


def renamed(params: Params, order: np.ndarray, sign: np.ndarray) -> Params:
    """The same model with its concepts numbered and signed anew."""
    process, dictionary = params.process, params.dictionary
    turn_kk = np.outer(sign, sign)
    return Params(
        dictionary.replace(decoder_kd=(dictionary.decoder_kd * sign[:, None])[order]),
        Process((process.b_lkk * turn_kk)[:, order][:, :, order], (process.m_kk * turn_kk)[order][:, order], None),
    )


def test_numbering_and_signs_change_nothing() -> None:
    """A model against itself, renumbered and with signs turned: every concept and every edge comes back."""
    rng = np.random.default_rng(0)
    params = model(rng)
    figures = stability(params, renamed(params, rng.permutation(K), rng.choice([-1.0, 1.0], K)))
    np.testing.assert_allclose([figures[n] for n in ("pw_mcc", "concepts_over_9", "edges_back")], 1, atol=1e-5)
    assert figures["edges"] == figures["edges_comparable"]
    assert figures["edges_back_by_chance"] < 0.5


def test_a_turned_edge_does_not_come_back() -> None:
    """One edge of many with its sign turned in the second process, one gone: two are missing."""
    params = model(np.random.default_rng(1))
    b_lkk = np.array(params.process.b_lkk)
    lag, target, source = np.argwhere((b_lkk != 0) & ~np.eye(K, dtype=bool))[[3, 7]].T
    b_lkk[lag, target, source] *= [-1, 0]
    matching = match_concepts(params.dictionary.decoder_kd, params.dictionary.decoder_kd)
    counts = edge_recurrence(params.process, params.process.replace(b_lkk=jnp.asarray(b_lkk)), matching)
    assert counts.edges == counts.comparable == counts.back + 2


def test_chance_is_what_random_processes_share() -> None:
    """Between unrelated processes over the same concepts, as many edges come back as expected by chance."""
    rng = np.random.default_rng(2)
    direction_kd = rng.normal(size=(150, 200))
    matching = match_concepts(direction_kd, direction_kd)
    first, second = (Process(jnp.asarray(rng.choice([-1, 0, 0, 1, 1], (1, 150, 150))), None, None) for _ in range(2))
    counts = edge_recurrence(first, second, matching)
    assert abs(counts.back - counts.expected) < 4 * np.sqrt(counts.expected)


def test_edges_of_lost_concepts_are_not_comparable() -> None:
    """Where one concept has no partner, its edges leave the comparison but stay in the count."""
    rng = np.random.default_rng(3)
    params = model(rng)
    decoder_kd = np.array(params.dictionary.decoder_kd)
    decoder_kd[4] = rng.normal(size=D)
    second = params.replace(dictionary=params.dictionary.replace(decoder_kd=jnp.asarray(decoder_kd)))
    figures = stability(params, second)
    of_lost = sum(
        int((np.delete(w[4], 4) != 0).sum() + (np.delete(w[:, 4], 4) != 0).sum())
        for w in (*np.asarray(params.process.b_lkk), np.asarray(params.process.m_kk))
    )
    assert of_lost > 0
    assert figures["edges_comparable"] == figures["edges"] - of_lost
    assert figures["edges_back"] == 1
    np.testing.assert_allclose(figures["concepts_over_9"], 1 - 1 / K)


def test_pw_mcc_by_hand() -> None:
    """Mean |cosine| of the best pairing, also where one dictionary is smaller."""
    first_kd = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    second_kd = np.array([[0.0, -0.6, 0.8], [-5.0, 0.0, 0.0]])
    np.testing.assert_allclose(pw_mcc(match_concepts(first_kd, second_kd)), (1 + 0.8) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("rows_kd", "said"), [(np.zeros((2, 3)), "row 0 has norm 0"), (np.ones((2, 4)), "width 3 and 4")]
)
def test_bad_directions(rows_kd: np.ndarray, said: str) -> None:
    """A concept without a direction, and dictionaries of other activations, are named."""
    with pytest.raises(ValueError, match=said):
        match_concepts(np.ones((2, 3)), rows_kd)


def test_a_second_dictionary_chooses_what_a_third_knows() -> None:
    """Half of the concepts are common to three dictionaries: chosen by the second, they have 1 in the third.

    The third alone decides the figure: where it knows nothing of them it is low, whatever the second says.
    """
    rng = np.random.default_rng(5)
    first_kd = rng.normal(size=(20, 400))
    second_kd, third_kd, stranger_kd = rng.normal(size=(3, 20, 400))
    second_kd[:10] = third_kd[5:15] = first_kd[:10]
    chooser, judge, stranger = (match_concepts(first_kd, of_kd) for of_kd in (second_kd, third_kd, stranger_kd))
    assert chosen_pw_mcc(chooser, judge) == pytest.approx({"share": 0.5, "pw_mcc": 1, "over_7": 1})
    assert chosen_pw_mcc(chooser, judge, alike=0.0)["pw_mcc"] == pytest.approx(pw_mcc(judge))
    assert chosen_pw_mcc(chooser, stranger)["pw_mcc"] < 0.2
    assert np.isnan(chosen_pw_mcc(chooser, judge, alike=2.0)["pw_mcc"])
