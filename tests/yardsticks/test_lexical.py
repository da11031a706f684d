"""Token identity: group means drawn towards their parents, never across documents."""

import jax.numpy as jnp
import numpy as np

from tcr_jax.params import linear_dictionary
from tcr_jax.store import Batch
from tcr_jax.yardsticks.lexical import bigram, current, group_means, previous

K = 5
CODES = linear_dictionary(np.eye(K), np.eye(K), np.zeros(K))  # codes are the activations
RNG = np.random.default_rng(0)
TOKEN_BT = np.array([[3, 1, 3, 3, 7, 1], [1, 3, 1, 7, 7, 3]])
DOCUMENT_BT = np.array([[0, 0, 0, 4, 4, -1], [1, 1, -1, 1, 1, 1]])
Z_BTK = RNG.normal(size=(2, 6, K)).astype(np.float32)
BATCH = Batch(Z_BTK, TOKEN_BT, DOCUMENT_BT)


def test_groups() -> None:
    """By the token, by the one before it, and by both; none where dropped or where a document begins."""
    assert current(TOKEN_BT, DOCUMENT_BT).tolist() == [[3, 1, 3, 3, 7, -1], [1, 3, -1, 7, 7, 3]]
    assert previous(TOKEN_BT, DOCUMENT_BT).tolist() == [[-1, 3, 1, -1, 3, -1], [-1, 1, -1, -1, 7, 7]]
    pair_bt = bigram(TOKEN_BT, DOCUMENT_BT)
    assert np.where(pair_bt < 0, -1, pair_bt >> 32).tolist() == previous(TOKEN_BT, DOCUMENT_BT).tolist()
    assert (pair_bt[pair_bt >= 0] % 2**32).tolist() == [1, 3, 7, 3, 7, 3]


def test_means_are_drawn_towards_their_parents() -> None:
    """(sum + kappa parent) / (n + kappa) for seen groups, over two levels; the parent for unseen ones."""
    tokens = group_means(CODES, [BATCH], current)
    pairs = group_means(CODES, [BATCH], bigram, parent=tokens)
    kept_bt = DOCUMENT_BT >= 0
    mean_k = Z_BTK[kept_bt].mean(axis=0)
    own = kept_bt & (TOKEN_BT == 3)
    mean_3 = (Z_BTK[own].sum(axis=0) + tokens.kappa * mean_k) / (own.sum() + tokens.kappa)
    pair_13 = (Z_BTK[0, 2] + Z_BTK[1, 1] + pairs.kappa * mean_3) / (2 + pairs.kappa)
    ask = Batch(Z_BTK[:1, :2], np.array([[1, 3]]), np.zeros((1, 2), int))
    np.testing.assert_allclose(tokens(jnp.zeros((1, 2, K)), ask)[0, 1], mean_3, rtol=1e-5)
    np.testing.assert_allclose(pairs(jnp.zeros((1, 2, K)), ask)[0, 1], pair_13, rtol=1e-5)
    unseen = Batch(Z_BTK[:1, :2], np.array([[9, 3]]), np.zeros((1, 2), int))
    np.testing.assert_allclose(tokens(jnp.zeros((1, 2, K)), unseen)[0, 0], mean_k, rtol=1e-5)
    np.testing.assert_allclose(pairs(jnp.zeros((1, 2, K)), unseen)[0, 1], mean_3, rtol=1e-5)


def test_shrinkage_is_within_over_between_variance() -> None:
    """Groups whose true means have variance 1/4 and whose tokens have variance 1 about them: kappa is near 4."""
    token_n = RNG.integers(0, 400, 4000)
    z_nk = RNG.normal(size=(400, K))[token_n] / 2 + RNG.normal(size=(4000, K)) + 3
    batches = [
        Batch(np.float32(z_nk[None, p]), token_n[None, p], np.zeros((1, 2000), int))
        for p in (slice(2000), slice(2000, None))
    ]
    assert 3.4 < group_means(CODES, batches, current).kappa < 4.6
