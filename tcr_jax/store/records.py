"""One context, and the bytes of its record: int32 tokens, int32 documents, activations, one byte a position kept."""

from typing import NamedTuple

import numpy as np

from tcr_jax.store.description import DTYPES, Source
from tcr_jax.store.files import StoreError
from tcr_jax.typing import DROPPED


class Context(NamedTuple):
    """T positions of text. Several short documents may share one; none sees another."""

    activations_td: np.ndarray  # in the store's dtype
    token_t: np.ndarray  # int32
    document_t: np.ndarray  # int32: the same number all over the store; DROPPED at padding
    kept_t: np.ndarray  # bool: False at padding, attention sinks, outliers


def record_size(source: Source) -> int:
    """Bytes of a record."""
    return source.context * (source.width * DTYPES[source.dtype].itemsize + 9)


def encode(context: Context) -> bytes:
    """The record of a checked context."""
    return b"".join(
        np.ascontiguousarray(array).tobytes()
        for array in (context.token_t, context.document_t, context.activations_td, context.kept_t)
    )


def decode(record: bytes, source: Source) -> Context:
    """The context of a record, as read-only views of its bytes.

    Raises `StoreError` where its length is not the one that width, context and dtype ask for.
    """
    if len(record) != record_size(source):
        raise StoreError(
            f"a record of {len(record)} bytes, but width={source.width}, context={source.context}, "
            f"dtype={source.dtype} make {record_size(source)}: the description is of other shards; restore it"
        )
    t, d = source.context, source.width
    return Context(
        token_t=np.frombuffer(record, np.int32, t),
        document_t=np.frombuffer(record, np.int32, t, offset=4 * t),
        activations_td=np.frombuffer(record, DTYPES[source.dtype], t * d, offset=8 * t).reshape(t, d),
        kept_t=np.frombuffer(record, np.bool_, t, offset=len(record) - t),
    )


def check(context: Context, source: Source) -> None:
    """Raises `StoreError` where a context does not fit its source or holds NaN or Inf, naming position and document."""
    t, d = source.context, source.width
    int32, boolean = np.dtype(np.int32), np.dtype(np.bool_)
    wanted = (DTYPES[source.dtype], (t, d)), (int32, (t,)), (int32, (t,)), (boolean, (t,))
    for name, array, (dtype, shape) in zip(Context._fields, context, wanted, strict=True):
        if array.dtype != dtype or array.shape != shape:
            raise StoreError(f"{name} is {array.dtype} {array.shape}; this store takes {dtype} {shape}")
    if (orphan_t := context.kept_t & (context.document_t < 0)).any():
        raise StoreError(f"position {orphan_t.argmax()} is kept but belongs to no document; give it a document id >= 0")
    if (context.document_t < DROPPED).any() or (context.token_t < 0).any():
        raise StoreError(f"document ids start at 0, or {DROPPED} for padding; token ids start at 0")
    finite_t = np.isfinite(context.activations_td.astype(np.float32)).all(axis=-1)  # several times faster than bfloat16
    if not finite_t.all():
        position = finite_t.argmin()
        raise StoreError(
            f"NaN or Inf at position {position}, document {context.document_t[position]}; "
            f"repair the activations, or store them as bfloat16 or float32 if they overflow float16"
        )
