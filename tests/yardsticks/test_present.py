"""Effects within a token are least squares in an order, beyond the token's identity, and both halves have one order."""

import numpy as np
import pytest

from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.present import present_effects
from tcr_jax.yardsticks.slopes import confirmed

K, CONTEXTS, TOKENS, IDS = 5, 40, 100, 6


def simulated(seed: int) -> CodeTable:
    """1 = .8 * 0 + noise, 2 = -.6 * 1 + noise; 3 and 4 share nothing but the token's id."""
    rng = np.random.default_rng(seed)
    token_bt = rng.integers(0, IDS, (CONTEXTS, TOKENS)).astype(np.int32)
    eps_btk = rng.laplace(size=(CONTEXTS, TOKENS, K))
    eps_btk[..., 1] += 0.8 * eps_btk[..., 0]
    eps_btk[..., 2] -= 0.6 * eps_btk[..., 1]
    eps_btk[..., 3:] += 3 * token_bt[..., None]
    document_bt = np.repeat(np.arange(CONTEXTS, dtype=np.int32)[:, None], TOKENS, axis=1)
    return CodeTable(eps_btk.astype(np.float32), token_bt, document_bt)


def test_least_squares_in_an_order() -> None:
    """Each concept on all before it, with the ridge; nothing else is not zero."""
    (half, _), codes = present_effects(simulated(0), simulated(1), ridge=1e-6), simulated(0)
    m_kk = half.effect_lkk[0]
    order_k = np.argsort((m_kk != 0).sum(axis=1))
    assert ((m_kk != 0).sum(axis=1)[order_k] == np.arange(K)).all()
    fold_n = np.random.default_rng(0).permutation(CONTEXTS)[codes.document_bt].reshape(-1) % 8
    group_n = fold_n * IDS + codes.token_bt.reshape(-1)  # means are of a fold's tokens of one id
    z_nk = codes.z_btk.reshape(-1, K).copy()
    for group in np.unique(group_n):
        z_nk[group_n == group] -= z_nk[group_n == group].mean(axis=0)
    for place in range(1, K):
        target, sources = order_k[place], order_k[:place]
        expected = np.linalg.lstsq(z_nk[:, sources], z_nk[:, target], rcond=None)[0]
        np.testing.assert_allclose(m_kk[target, sources], expected, atol=2e-3)


def test_beyond_identity() -> None:
    """What the id explains is there in all tokens and gone within ids; true pairs are certified, in one direction."""
    halves = simulated(0), simulated(1)
    std_k = simulated(0).z_btk.std(axis=(0, 1))
    within_kk = confirmed(*present_effects(*halves), std_k, effect=0.1)[0]
    everywhere_kk = confirmed(*present_effects(*halves, within=None), std_k, effect=0.1)[0]
    assert {frozenset(pair) for pair in np.argwhere(within_kk).tolist()} == {frozenset((0, 1)), frozenset((1, 2))}
    assert everywhere_kk[3, 4] != 0 or everywhere_kk[4, 3] != 0
    assert not ((within_kk != 0) & (within_kk != 0).T).any()


def test_both_halves_have_one_order() -> None:
    """The second half's effects point as the first's, even where its own variances would have turned them."""
    second = simulated(1)
    second.z_btk[..., 0] *= 30
    for half in present_effects(simulated(0), second):
        again = present_effects(simulated(0), simulated(1))[0]
        assert ((half.effect_lkk != 0) == (again.effect_lkk != 0)).all()


def test_t_of_no_effect() -> None:
    """|t| of pairs that nothing connects passes the 5 % point of Student's t with 7 degrees about once in twenty."""
    pairs = []
    for seed in range(20):
        for half in present_effects(simulated(seed), simulated(100 + seed)):
            t_kk = half.t_lkk[0]
            pairs += [t_kk[3:, :3].ravel(), t_kk[:3, 3:].ravel(), t_kk[3:, 3:].ravel()]
    t = np.concatenate(pairs)
    assert 0.02 < (np.abs(t[t != 0]) > 2.365).mean() < 0.1


def test_too_few_documents() -> None:
    """The message has the numbers."""
    few = CodeTable(*(column[:3] for column in simulated(0)))
    with pytest.raises(ValueError, match="3 documents cannot fill 8 folds"):
        present_effects(few, few)
