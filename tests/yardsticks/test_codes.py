"""A table holds every context of its split once, and its batches are the table."""

from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import tcr_jax
from tcr_jax.store import Store, is_heldout
from tcr_jax.yardsticks.codes import CodeTable, code_table, halves, sizes


def test_table(small_store: Path) -> None:
    """Codes are those of `encode`; only the split's documents are kept; an epoch of batches is the table, any order."""
    store = Store.open(small_store)
    config = tcr_jax.Config(latents=8, topk=2)
    dictionary = tcr_jax.init_params(config, 16, jnp.zeros(16), jnp.ones(()), jax.random.key(0)).dictionary
    table = code_table(dictionary, store, "heldout", 0.5)
    context = store[int(store.contexts("heldout", 0.5)[3])]
    z_tk = tcr_jax.encode(dictionary, context.activations_td)
    np.testing.assert_allclose(table.z_btk[3], np.asarray(z_tk), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(table.token_bt[3], context.token_t)
    assert is_heldout(table.document_bt[table.document_bt >= 0], 0.5).all()
    assert (table.document_bt >= 0).sum() == store.tokens("heldout", 0.5)

    in_order = list(table.batches(7))
    assert {document_bt.shape for _, document_bt in in_order} == {(7, 24)}
    documents = np.concatenate([document_bt for _, document_bt in in_order])
    np.testing.assert_array_equal(documents[: len(table.z_btk)], table.document_bt)
    assert (documents[len(table.z_btk) :] == -1).all()

    epoch = np.concatenate([z_btk for z_btk, _ in islice(table.shuffled(1, seed=0), len(table.z_btk))])
    np.testing.assert_allclose(np.sort(epoch.sum((1, 2))), np.sort(table.z_btk.sum((1, 2))))
    assert not np.array_equal(epoch, table.z_btk)


def test_halves() -> None:
    """No document is in both, all are in one, and neither depends on what else the table holds."""
    document_bt = np.repeat(np.arange(200, dtype=np.int32)[:, None], 3, axis=1)
    document_bt[is_heldout(document_bt, 0.2) | (np.arange(3) == 2)] = -1
    codes = CodeTable(np.zeros((200, 3, 1), np.float16), document_bt, document_bt)
    first, second = halves(codes, 0.2)
    kept_bt = document_bt >= 0
    np.testing.assert_array_equal((first.document_bt >= 0) ^ (second.document_bt >= 0), kept_bt)
    assert (np.maximum(first.document_bt, second.document_bt) == document_bt).all()
    assert 0.4 < (first.document_bt >= 0).sum() / kept_bt.sum() < 0.6
    few = codes._replace(document_bt=np.where(document_bt < 50, document_bt, -1))
    np.testing.assert_array_equal(halves(few, 0.2)[1].document_bt, np.where(document_bt < 50, second.document_bt, -1))


def test_sizes() -> None:
    """Over kept positions alone, in as many pieces as it takes; a concept that never fires has size zero."""
    rng = np.random.default_rng(0)
    z_btk = (rng.normal(1, 2, (9, 7, 3)) * (rng.random((9, 7, 3)) < 0.4) * [1, 1, 0]).astype(np.float16)
    document_bt = np.where(rng.random((9, 7)) < 0.7, 0, -1).astype(np.int32)
    z_nk = z_btk[document_bt >= 0].astype(np.float64)
    std_k, strength_k = sizes(CodeTable(z_btk, document_bt, document_bt), rows=4)
    np.testing.assert_allclose(std_k, z_nk.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose(strength_k[:2], [np.abs(z[z != 0]).mean() for z in z_nk.T[:2]], rtol=1e-4)
    assert strength_k[2] == 0
