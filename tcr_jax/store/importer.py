"""Turns arrays that somebody already has, activations and token ids, into a store."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tcr_jax.store.description import DTYPES, Description, Source
from tcr_jax.store.files import StoreError
from tcr_jax.store.keep import Keep
from tcr_jax.store.records import Context, record_size
from tcr_jax.store.shards import finished_shards, write_shard
from tcr_jax.store.writer import begin, finish
from tcr_jax.typing import DROPPED


def import_arrays(
    directory: Path | str,
    source: Source,
    activations: np.ndarray,
    tokens: np.ndarray,
    *,
    documents: np.ndarray | None = None,
    kept: np.ndarray | None = None,
    pieces: Sequence[str] | None = None,
    skip_first: int = 4,
    outlier_norm: float = 3.0,
    shard_bytes: int = 2**28,
    progress: Callable[[int, int], None] = lambda done, shards: None,
) -> Description:
    """Writes a store from arrays, a context at a time: activations mapped from the disk are never read whole.

    The positions are cut, in their order, into contexts of `source.context`; a document that a cut divides goes on in
    the next context, where its lags start afresh. Choose the length of a sequence, or a multiple, where there is one.
    An import that was killed continues when it is called again with the same arguments.

    Args:
      directory: of the store.
      source: what the activations are; `kept_policy` and a digest of the arrays are filled in here.
      activations: [sequences, tokens, d] or [tokens, d]; any floating type, converted to `source.dtype`.
      tokens: token ids, of the same leading shape.
      documents: document ids >= 0 of the same leading shape, the same number for the same document all over, -1 at
        padding. Default: one document a sequence. They decide what is held out together and where lags end.
      kept: which positions to use, of the same leading shape, as booleans or as 0 and 1. Default: all.
      pieces: text of every token id. Default: `<17>` for id 17.
      skip_first: positions dropped at the start of a document in every context, as in `Keep`.
      outlier_norm: multiple of the median norm over which a position is dropped, as in `Keep`.
      shard_bytes: size that a shard does not pass, unless by its only context.
      progress: called after every shard with the shards done and those in all.

    Raises:
      StoreError: shapes, types or ids that do not fit, or NaN or Inf; names the argument and the position.
    """
    _check_activations(activations, source)
    if documents is None:
        if activations.ndim == 2:
            raise StoreError("documents: [tokens, d] does not show where documents end; give a document id a token")
        documents = np.arange(len(activations), dtype=np.int32)[:, None].repeat(activations.shape[1], axis=1)
    stream = Context(
        activations_td=activations.reshape(-1, source.width),
        token_t=_ids("tokens", tokens, activations, lowest=0),
        document_t=_ids("documents", documents, activations, lowest=DROPPED),
        kept_t=_mask(np.broadcast_to(True, tokens.shape) if kept is None else kept, activations),
    )
    largest = int(stream.token_t.max())
    if pieces is None:
        pieces = [f"<{token}>" for token in range(largest + 1)]
    if largest >= len(pieces):
        raise StoreError(f"pieces: {len(pieces)} of them, but token id {largest} occurs; give one an id")

    keep, mask = Keep(skip_first, outlier_norm), "" if kept is None else "; and what the given mask leaves out"
    source = dataclasses.replace(
        source,
        text=f"{source.text} (imported arrays, digest {_digest(stream)})".strip(),
        kept_policy=f"{keep}{mask}",
    )
    contexts = -(-len(stream.token_t) // source.context)
    share = max(1, shard_bytes // record_size(source))
    shards = -(-contexts // share)
    begin(directory, source, pieces, shards)
    finished = finished_shards(directory)
    for index in range(shards):
        if index not in finished:
            numbers = range(index * share, min((index + 1) * share, contexts))
            write_shard(directory, source, index, _cut(stream, source, keep, numbers))
        progress(index + 1, shards)
    return finish(directory, source, shards)


def _cut(stream: Context, source: Source, keep: Keep, numbers: range) -> Iterator[Context]:
    """The contexts of these numbers, from the whole stream of positions; the last of all is padded."""
    for number in numbers:
        start = number * source.context
        stop = min(start + source.context, len(stream.token_t))
        x_td, token_t, document_t, kept_t = (array[start:stop] for array in stream)
        if not (finite_t := np.isfinite(x_td).all(axis=-1)).all():
            bad = int(finite_t.argmin())
            raise StoreError(f"activations: NaN or Inf at token {start + bad}, document {document_t[bad]}; repair it")
        with np.errstate(over="ignore"):  # what overflows becomes Inf, which the writer refuses
            x_td = x_td.astype(DTYPES[source.dtype])
        context = Context(x_td, token_t.astype(np.int32), document_t.astype(np.int32), kept_t.astype(bool))
        yield keep(context if stop - start == source.context else _pad(context, source.context))


def _pad(context: Context, length: int) -> Context:
    padding = [(0, length - len(context.token_t))]
    return Context(
        activations_td=np.pad(context.activations_td, [*padding, (0, 0)]),
        token_t=np.pad(context.token_t, padding),
        document_t=np.pad(context.document_t, padding, constant_values=DROPPED),
        kept_t=np.pad(context.kept_t, padding),
    )


def _check_activations(activations: np.ndarray, source: Source) -> None:
    if activations.ndim not in (2, 3) or activations.shape[-1] != source.width or not activations.size:
        wanted = f"[tokens, {source.width}] or [sequences, tokens, {source.width}]"
        raise StoreError(f"activations: shape {activations.shape}, but width={source.width}; give {wanted}")
    if activations.dtype not in (*DTYPES.values(), np.float64):
        raise StoreError(f"activations: {activations.dtype} is no floating type; give float64 or {', '.join(DTYPES)}")


def _flat(name: str, array: np.ndarray, activations: np.ndarray) -> np.ndarray:
    if array.shape != activations.shape[:-1]:
        raise StoreError(f"{name}: shape {array.shape}, but activations are {activations.shape}; give one a position")
    return array.reshape(-1)


def _ids(name: str, array: np.ndarray, activations: np.ndarray, lowest: int) -> np.ndarray:
    flat = _flat(name, array, activations)
    if not np.issubdtype(array.dtype, np.integer):
        raise StoreError(f"{name}: {array.dtype} is no integer type; give int32 or int64")
    if flat.min() < lowest or flat.max() > np.iinfo(np.int32).max:
        raise StoreError(f"{name}: ids from {flat.min()} to {flat.max()}; they must lie between {lowest} and 2^31 - 1")
    return flat


def _mask(kept: np.ndarray, activations: np.ndarray) -> np.ndarray:
    flat = _flat("kept", kept, activations)
    if flat.dtype.kind not in "biu" or flat.min() < 0 or flat.max() > 1:
        raise StoreError(f"kept: {flat.dtype}, not all 0 or 1; give a mask of booleans, or of the integers 0 and 1")
    return flat


def _digest(stream: Context) -> str:
    """Tells arrays apart whose import must not be mixed: by all ids and by 1,000 activations, spread evenly.

    Activations may be too large to read twice. One in 16 at most is looked at, so that an import which NaN broke off
    nearly always continues with the repaired array.
    """
    x_nd = stream.activations_td
    digest = hashlib.sha256(f"{x_nd.dtype} {x_nd.shape}".encode())
    looked_at = np.linspace(0, len(x_nd) - 1, max(1, min(1000, len(x_nd) // 16))).astype(int)
    for array in (stream.token_t, stream.document_t, stream.kept_t):
        digest.update(np.ascontiguousarray(array).data)
    for row in looked_at:
        digest.update(x_nd[row].tobytes())
    return digest.hexdigest()[:16]
