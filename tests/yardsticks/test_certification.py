"""Errors cover, chance certifies nothing, and what token identity explains is no edge beyond it."""

import numpy as np
import pytest

from tcr_jax.scores.matching import Matching, match
from tcr_jax.yardsticks.certification import EdgeFit, certify, edge_fit
from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.lexical import bigram

K, CONTEXTS, TOKENS, IDS = 6, 150, 64, 4
B_KK = np.zeros((K, K))
B_KK[1, 0], B_KK[2, 1], B_KK[0, 0] = 0.3, -0.2, 0.4
ITSELF = match(np.eye(K))


def simulated(seed: int, lexical: bool = False) -> CodeTable:
    """z_t = B z_{t-1} + Laplace noise, a document a context, documents of unequal loudness. With `lexical`, concept 4
    is the token's id and 5 the id before, both with noise: an edge 4 -> 5 that the ids explain."""
    rng = np.random.default_rng(seed)
    token_bt = rng.integers(0, IDS, (CONTEXTS, TOKENS)).astype(np.int32)
    z_btk = rng.laplace(size=(CONTEXTS, TOKENS, K)) * rng.uniform(0.5, 2, (CONTEXTS, 1, 1))
    for t in range(1, TOKENS):
        z_btk[:, t] += z_btk[:, t - 1] @ B_KK.T
    if lexical:
        z_btk[:, :, 4] = token_bt + 0.5 * rng.normal(size=token_bt.shape)
        z_btk[:, 1:, 5] = token_bt[:, :-1] + 0.5 * rng.normal(size=token_bt[:, 1:].shape)
    document_bt = np.repeat(np.arange(CONTEXTS, dtype=np.int32)[:, None], TOKENS, axis=1)
    return CodeTable(z_btk.astype(np.float32), token_bt, document_bt)


def test_effects_are_the_process() -> None:
    """Standardised B comes back; a lag that the process lacks has no effect."""
    codes = simulated(0)
    fit = edge_fit(codes, 2)
    deviation_k = codes.z_btk.std(axis=(0, 1))
    np.testing.assert_allclose(fit.effect_lkk[0], B_KK * deviation_k / deviation_k[:, None], atol=0.05)
    assert np.abs(fit.effect_lkk[1]).max() < 0.05
    assert (np.abs(fit.t_lkk[0])[B_KK != 0] > 8).all()


def test_t_of_no_effect() -> None:
    """Where there is no effect, |t| passes the 5 % point of Student's t with 19 degrees about once in twenty."""
    t = np.concatenate([edge_fit(simulated(seed), 1).t_lkk[:, B_KK == 0].ravel() for seed in range(12)])
    assert 0.02 < (np.abs(t) > 2.093).mean() < 0.09


def test_folds_are_whole_documents() -> None:
    """Four copies of every document, with its number, are no more evidence: t stays."""
    codes = simulated(0)
    copies = CodeTable(*(np.repeat(column, 4, axis=0) for column in codes))
    np.testing.assert_allclose(edge_fit(copies, 1).t_lkk, edge_fit(codes, 1).t_lkk, rtol=2e-2, atol=1e-2)


def test_within_bigrams() -> None:
    """An edge that the ids explain is there in the plain fit and gone within pairs of ids; a true edge stays."""
    codes = simulated(3, lexical=True)
    plain, within = edge_fit(codes, 1), edge_fit(codes, 1, within=bigram)
    assert plain.t_lkk[0, 5, 4] > 10
    assert abs(within.t_lkk[0, 5, 4]) < 4 and abs(within.effect_lkk[0, 5, 4]) < 0.05
    assert plain.t_lkk[0, 1, 0] > 8 and within.t_lkk[0, 1, 0] > 8


def test_within_is_the_regression_with_dummies() -> None:
    """Moments about group means give least squares with an intercept for every pair of ids (Frisch, Waugh, Lovell)."""
    codes = simulated(4)
    fit = edge_fit(codes, 1, within=bigram, ridge=0.0)
    pair_n = bigram(codes.token_bt, codes.document_bt)[:, 1:].ravel()
    dummy_ng = (pair_n[:, None] == np.unique(pair_n)).astype(float)
    now_nk, past_nk = codes.z_btk[:, 1:].reshape(-1, K), codes.z_btk[:, :-1].reshape(-1, K)
    effect_fk = np.linalg.lstsq(np.concatenate([past_nk, dummy_ng], axis=1), now_nk, rcond=None)[0]

    def deviation(z_nk: np.ndarray) -> np.ndarray:
        return (z_nk - dummy_ng @ np.linalg.lstsq(dummy_ng, z_nk, rcond=None)[0]).std(axis=0)

    expected_kk = effect_fk[:K].T * deviation(past_nk) / deviation(now_nk)[:, None]
    np.testing.assert_allclose(fit.effect_lkk[0], expected_kk, atol=1e-4)


def test_certificate() -> None:
    """A half renumbered and with signs turned certifies exactly the edges; unmatched ends are not comparable."""
    first, second = edge_fit(simulated(0), 1), edge_fit(simulated(1), 1)
    order, sign = np.array([3, 0, 5, 1, 2, 4]), np.array([1, -1, -1, 1, 1, -1])
    turned = EdgeFit(*((m * np.outer(sign, sign))[:, order][:, :, order] for m in second))
    matching = match((np.eye(K) * sign)[:, order])
    whole = certify(first, turned, matching)
    assert (whole.chosen, whole.comparable, whole.same_sign, whole.certified) == (2, 2, 2, 2)
    assert whole.pairs == K * (K - 1) and whole.by_chance < 0.2
    lost = Matching(matching.found_k, np.where(np.arange(K) == 2, 0.1, matching.similarity_k))
    assert certify(first, turned, lost)[:3] == (2, 1, 1)
    assert certify(first, turned, matching, stable_k=np.arange(K) > 1).chosen == 0


def test_other_processes_do_not_certify() -> None:
    """The other half with every effect's sign turned certifies nothing."""
    first = edge_fit(simulated(0), 1)
    second = edge_fit(simulated(1), 1)
    against = certify(first, EdgeFit(-second.effect_lkk, -second.t_lkk), ITSELF)
    assert against.comparable == 2 and against.same_sign == against.certified == 0


def test_too_few_tokens() -> None:
    """The message has the numbers."""
    codes = CodeTable(*(column[:1] for column in simulated(0)))
    with pytest.raises(ValueError, match="63 tokens in 1 of 20 folds cannot tell 6 effects"):
        edge_fit(codes, 1)
