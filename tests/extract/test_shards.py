"""Laws of the contexts computed."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tcr_jax.extract.chunks import Chunk
from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.language_model import load_model
from tcr_jax.extract.residual_stream import residual_stream
from tcr_jax.extract.shards import batches_by_length, compute_contexts
from tcr_jax.store import Context, Keep, Source

T, LAYER = 12, 2
LENGTHS = ((12,), (5, 6), (7, 1), (3, 3, 3))


@pytest.fixture
def model(llama: Path) -> PreTrainedModel:
    return load_model(str(llama))


def packed() -> list[tuple[Chunk, ...]]:
    """Four contexts of random chunks, each of its own document."""
    rng, documents = np.random.default_rng(0), iter(range(20))
    return [tuple(Chunk(next(documents), rng.integers(2, 300, n, dtype=np.int32)) for n in row) for row in LENGTHS]


def contexts(model: PreTrainedModel, *, batch: int = 3, dtype: str = "float32") -> list[Context]:
    source = Source(model="tiny", layer=LAYER, width=16, context=T, dtype=dtype)
    names = [f"document {number}" for number in range(20)]
    return list(compute_contexts(model, packed(), source, Keep(skip_first=2), batch=batch, names=names))


def test_every_chunk_is_where_the_plan_puts_it(model: PreTrainedModel) -> None:
    """Chunks lie one after the other with their tokens, documents and activations; then padding, not kept."""
    for context, chunks in zip(contexts(model), packed(), strict=True):
        start = 0
        for chunk in chunks:
            span = slice(start, start := start + len(chunk.token_t))
            assert (context.token_t[span] == chunk.token_t).all()
            assert (context.document_t[span] == chunk.document).all()
            alone_td = residual_stream(model, LAYER, chunk.token_t[None])[0].numpy()
            np.testing.assert_allclose(context.activations_td[span], alone_td, rtol=1e-5, atol=1e-5)
            alone = Context(alone_td, context.token_t[span], context.document_t[span], np.ones(len(alone_td), bool))
            assert (context.kept_t[span] == Keep(skip_first=2)(alone).kept_t).all()
        assert (context.document_t[start:] == -1).all()
        assert not context.kept_t[start:].any() and not context.activations_td[start:].any()


def test_batch_size_does_not_matter(model: PreTrainedModel) -> None:
    """A chunk's activations do not depend on the chunks that share its forward pass."""
    for one, many in zip(contexts(model, batch=1), contexts(model, batch=8), strict=True):
        np.testing.assert_allclose(one.activations_td, many.activations_td, rtol=1e-5, atol=1e-5)
        assert (one.kept_t == many.kept_t).all()


def test_batches_hold_everything_once_and_little_padding() -> None:
    """Every index is in one batch, and lengths never rise from one to the next."""
    lengths = [3, 9, 9, 1, 7, 2, 9]
    batches = list(batches_by_length(lengths, 3))
    flat = [index for batch in batches for index in batch]
    assert sorted(flat) == list(range(7)) and max(map(len, batches)) == 3
    assert [lengths[index] for index in flat] == sorted(lengths, reverse=True)


def test_activations_are_stored_in_the_type_asked_for(model: PreTrainedModel) -> None:
    """Stored activations are the rounded float32 ones."""
    exact, rounded = contexts(model), contexts(model, dtype="bfloat16")
    for one, other in zip(exact, rounded, strict=True):
        assert (one.activations_td.astype(ml_dtypes.bfloat16) == other.activations_td).all()


def test_document_with_nan_is_named(model: PreTrainedModel) -> None:
    """Activations that are not finite name the document and the mend; its position would otherwise be an outlier."""
    token = packed()[1][1].token_t[4]
    with torch.no_grad():
        model.get_input_embeddings().weight[int(token)] = float("nan")
    with pytest.raises(ExtractError, match="document 'document 2': the model gives NaN or Inf at layer 2; compute in"):
        contexts(model)
