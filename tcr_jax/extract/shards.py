"""The contexts of one shard: runs the model over its chunks and lays the activations out."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from transformers import PreTrainedModel

from tcr_jax.extract.chunks import Chunk
from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.packing import Packed
from tcr_jax.extract.residual_stream import residual_stream
from tcr_jax.store.description import DTYPES, Source
from tcr_jax.store.keep import Keep
from tcr_jax.store.records import Context
from tcr_jax.typing import DROPPED


def compute_contexts(
    model: PreTrainedModel,
    packed: Sequence[Packed],
    source: Source,
    keep: Keep,
    *,
    batch: int,
    names: Sequence[str],
    report: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Context]:
    """Runs the model over every chunk of a shard, then yields the contexts in order.

    Args:
      model: the language model.
      packed: the chunks of every context.
      source: layer, width, context and dtype of the store.
      keep: which positions are kept.
      batch: chunks in a forward pass.
      names: of the documents, by id, for messages.
      report: told the tokens of every forward pass.

    Raises:
      ExtractError: an activation is NaN or infinite.
    """
    chunks = [chunk for context in packed for chunk in context]
    activations: list[np.ndarray] = [np.empty(0)] * len(chunks)
    for indices in batches_by_length([len(chunk.token_t) for chunk in chunks], batch):
        x_btd = residual_stream(model, source.layer, _pad([chunks[index] for index in indices])).float()
        for index, padded_td in zip(indices, x_btd, strict=True):
            x_td = padded_td[: len(chunks[index].token_t)]
            if not x_td.isfinite().all():
                raise ExtractError(
                    f"document {names[chunks[index].document]!r}: the model gives NaN or Inf at layer {source.layer}; "
                    "compute in float32, or leave the document out"
                )
            activations[index] = x_td.cpu().numpy().astype(DTYPES[source.dtype])
        report(sum(len(chunks[index].token_t) for index in indices))
    start = 0
    for context in packed:
        end = start + len(context)
        yield keep(_lay_out(context, activations[start:end], source))
        start = end


def batches_by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Indices in batches of at most `size`, longest first, so that little of a batch is padding."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _pad(chunks: Sequence[Chunk]) -> np.ndarray:
    """token_bt, zeros on the right of the shorter chunks."""
    token_bt = np.zeros((len(chunks), max(len(chunk.token_t) for chunk in chunks)), np.int32)
    for token_t, chunk in zip(token_bt, chunks, strict=True):
        token_t[: len(chunk.token_t)] = chunk.token_t
    return token_bt


def _lay_out(packed: Packed, activations: Sequence[np.ndarray], source: Source) -> Context:
    """The chunks one after the other, then padding."""
    t = source.context
    context = Context(
        activations_td=np.zeros((t, source.width), DTYPES[source.dtype]),
        token_t=np.zeros(t, np.int32),
        document_t=np.full(t, DROPPED, np.int32),
        kept_t=np.ones(t, np.bool_),
    )
    start = 0
    for chunk, x_td in zip(packed, activations, strict=True):
        span = slice(start, start + len(chunk.token_t))
        context.activations_td[span] = x_td
        context.token_t[span] = chunk.token_t
        context.document_t[span] = chunk.document
        start = span.stop
    return context
