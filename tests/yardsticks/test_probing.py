"""Sparse probing: pooling by hand, and accuracies that must come out on texts whose labels are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Config, encode, init_params
from tcr_jax.store import Batch
from tcr_jax.yardsticks.folders import first_folders
from tcr_jax.yardsticks.probing import Pooled, _accuracy, pool, probe

RNG = np.random.default_rng(0)
N, K, D = 600, 8, 3
LABEL_N = np.arange(N) % 3
TEST_N = np.arange(N) >= 300


def some_texts() -> Pooled:
    """Concepts 0 and 1 together tell label 2; label 0 has concept 5; activations are noise; text 599 has no token."""
    z_nk = RNG.normal(size=(N, K))
    z_nk[:, 5] += 8 * (LABEL_N == 0)
    shared_n = 6 * RNG.normal(size=N)
    z_nk[:, 0] = shared_n + 6 * (LABEL_N == 2) + 0.5 * RNG.normal(size=N)
    z_nk[:, 1] = shared_n - 6 * (LABEL_N == 2) + 0.5 * RNG.normal(size=N)
    return Pooled(z_nk, RNG.normal(size=(N, D)), (np.arange(N) < 599).astype(float))


def test_pooling_is_a_mean_over_the_kept_tokens_of_a_text() -> None:
    """Over contexts and batches, without dropped positions, and zero for a text that has none."""
    dictionary = init_params(Config(latents=12, topk=3), 6, jnp.ones(6), jnp.float32(2.0), jax.random.key(0)).dictionary
    x_btd = np.float32(RNG.normal(size=(3, 5, 6)))
    document_bt = np.array([[0, 0, 0, 2, 2], [2, -1, -1, 3, 3], [3, 3, 0, 0, -1]])
    x_btd[1, 1] = np.nan
    batches = [Batch(x_btd[part], document_bt[part], document_bt[part]) for part in (slice(0, 2), slice(2, 3))]
    pooled = pool(dictionary, batches, texts=4)
    for text in (0, 2, 3):
        x = x_btd[document_bt == text]
        np.testing.assert_allclose(pooled.z_nk[text], encode(dictionary, x).mean(0), atol=1e-5)
        np.testing.assert_allclose(pooled.x_nd[text], ((x - 1) / 2).mean(0), atol=1e-5)
    np.testing.assert_array_equal(pooled.tokens_n, [5, 0, 3, 4])
    assert not pooled.z_nk[1].any()


def test_the_number_of_concepts_a_label_needs() -> None:
    """A label with a concept of its own is told by one; one that is a contrast of two needs both; noise tells none."""
    found = probe(some_texts(), LABEL_N, TEST_N)
    only = [probe(some_texts(), label == LABEL_N, TEST_N) for label in (0, 2)]
    assert only[0]["concepts_1"] > 0.99
    assert only[1]["concepts_1"] < 0.85 and only[1]["concepts_2"] > 0.99
    assert found["concepts_1"] < found["concepts_2"] <= 1
    assert found["activations"] == pytest.approx(0.5, abs=0.1)
    assert found["majority"] == 0.5 and found["labels"] == 3


def test_regression_is_that_of_scikit_learn() -> None:
    """The same decisions as scikit-learn's logistic regression with its default penalty, on standardised input."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    v_nd = RNG.normal(size=(N, 4)) * [1, 10, 0.1, 1]
    is_label_n = v_nd @ [1, 0.1, 5, 0] + RNG.normal(size=N) > 0.5
    v_nd += 3
    train, test = np.flatnonzero(~TEST_N), np.flatnonzero(TEST_N)
    scaled_nd = (v_nd - v_nd[train].mean(0)) / v_nd[train].std(0)
    peer = linear_model.LogisticRegression().fit(scaled_nd[train], is_label_n[train])
    expected = peer.score(scaled_nd[test], is_label_n[test])
    assert _accuracy(v_nd, is_label_n, train, test) == pytest.approx(expected, abs=1 / len(test))


def test_a_label_with_too_few_texts_is_named() -> None:
    """Where a label has one text in the test, the error says which label and how many there are."""
    label_n = np.where(np.arange(N) == 400, 7, LABEL_N % 2)
    with pytest.raises(ValueError, match="label 7: 0 texts have it"):
        probe(some_texts(), label_n, TEST_N)
    with pytest.raises(ValueError, match="no batch to pool"):
        pool(None, [], texts=3)


def test_folders_are_labels() -> None:
    """A document outside any folder has no label, and is named."""
    with pytest.raises(ValueError, match="document 'b.txt' lies in no folder"):
        first_folders(["law/a.txt", "b.txt"])
