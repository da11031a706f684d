"""Laws of passages."""

import numpy as np
from transformers import PreTrainedModel

from tcr_jax.extract.residual_stream import residual_stream
from tcr_jax.intervene.passages import Passage, read_passages
from tcr_jax.store import Store, is_heldout
from tests.intervene.conftest import LAYER, LENGTH, ROWS


def test_the_model_gives_the_stores_activations_again(model: PreTrainedModel, passages: list[Passage]) -> None:
    """A passage run by itself has the activations that the store holds."""
    assert len(passages) == 2 * ROWS
    for passage in passages[:4]:
        x_td = residual_stream(model, LAYER, passage.token_t[None])[0]
        np.testing.assert_allclose(x_td, passage.x_td, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(passage.kept_t, np.arange(LENGTH // 2) >= 2)


def test_documents_of_the_other_split_are_never_read(store: Store) -> None:
    """Each document is in one split, though a context holds several."""
    split = {name: [p.document for p in read_passages(store, name, 0.5)] for name in ("train", "heldout")}
    assert sorted(split["train"] + split["heldout"]) == list(range(2 * ROWS))
    assert is_heldout(np.array(split["heldout"]), 0.5).all()


def test_a_limit_takes_contexts_from_all_over(store: Store) -> None:
    """As many as were asked for, the first and a late one among them."""
    documents = [passage.document for passage in read_passages(store, "all", 0.5, limit=3)]
    assert documents == [0, 1, 40, 41, 80, 81]
