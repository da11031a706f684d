"""A table holds every context of its split once, and its batches are the table."""

from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import tcr_jax
from tcr_jax.store import Store, is_heldout
from tcr_jax.yardsticks.codes import code_table


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
