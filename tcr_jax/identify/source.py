"""Data in: arrays and stores as streams of batches that can be read again and again."""

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.errors import NotIdentifiable
from tcr_jax.identify.types import Batches
from tcr_jax.identify.words import some
from tcr_jax.store import Store, ordered_batches
from tcr_jax.typing import DROPPED

NUMBERS = 2**22
"""Activations of a batch, where its size is ours to choose: small enough that what is made of it stays in the cache."""


def as_batches(data: Any, document_bt: Any = None) -> Batches:
    """A stream of pairs (x_btd, document_bt), all of one shape.

    Args:
      data: activations [sequences, tokens, width]; or a `Store`; or a stream already.
      document_bt: for an array, the document of each position, negative where dropped; by default each sequence is one.

    Raises:
      NotIdentifiable: the array, or a batch of the stream when it is read, is of another shape than said or holds no
        real numbers; sequences differ in length; or the stream can be read once only.
    """
    if callable(data) or isinstance(data, Store):
        if document_bt is not None:
            raise NotIdentifiable("document_bt belongs to an array: a store and a stream bring their own; leave it out")
        return _checked(data) if callable(data) else lambda: ((b.x_btd, b.document_bt) for b in _of_store(data))
    try:
        x_btd = np.asarray(data)
    except ValueError as error:  # NumPy's, for lists of arrays that differ in shape
        raise NotIdentifiable(
            "sequences of different shapes: pad them to one length, and mark the padding by document_bt -1"
        ) from error
    if document_bt is None and x_btd.ndim == 3:
        document_bt = np.broadcast_to(np.arange(len(x_btd))[:, None], x_btd.shape[:2])
    document_bt = _checked_documents(x_btd, document_bt)
    size = min(len(x_btd), _rows(x_btd.shape[1:]))

    def stream() -> Iterator[tuple[jax.Array, jax.Array]]:
        for first in range(0, len(x_btd), size):
            part_btd, part_bt = x_btd[first : first + size], document_bt[first : first + size]
            padding = size - len(part_btd)
            part_btd = np.pad(part_btd.astype(np.float32), ((0, padding), (0, 0), (0, 0)))
            yield jnp.asarray(part_btd), jnp.asarray(np.pad(part_bt, ((0, padding), (0, 0)), constant_values=DROPPED))

    return stream


def remembered(batches: Batches, limit: int) -> Batches:
    """The same stream, kept in memory from the first whole reading on if it takes no more than `limit` bytes."""
    kept: list[tuple[jax.Array, jax.Array]] = []
    state = {"whole": False, "fits": True}

    def stream() -> Iterator[tuple[jax.Array, jax.Array]]:
        if state["whole"]:
            yield from kept
            return
        kept.clear()
        size = 0
        for x_btd, document_bt in batches():
            size += x_btd.nbytes
            state["fits"] &= size <= limit
            if state["fits"]:
                kept.append((x_btd, document_bt))
            else:
                kept.clear()
            yield x_btd, document_bt
        state["whole"] = state["fits"]

    return stream


def fingerprint(data: Any, batches: Batches) -> dict[str, Any]:
    """What tells data apart: of an array a hash of all activations and documents, of a store its own digest.

    A stream is not read to its end for it: other batches after the first do not change its hash.
    """
    if isinstance(data, Store):
        return {"data": data.description.digest}
    digest = hashlib.sha256()
    for batch in itertools.islice(batches(), 1 if callable(data) else None):
        for part in batch:
            digest.update(np.asarray(part).tobytes())
    return {"data": digest.hexdigest()[:16]}


def broken(batches: Batches) -> str:
    """Which kept activations are NaN or infinite, or else which is the largest: count, channels, and place."""
    count, read, channels, first = 0, 0, set[int](), ""
    largest, largest_at = 0.0, ""
    for part_btd, document_bt in batches():
        x_btd = np.where(np.asarray(document_bt)[..., None] >= 0, np.asarray(part_btd), 0)

        def place(index: Any, x_btd: np.ndarray = x_btd, read: int = read) -> str:
            b, t, d = map(int, index)
            return f"{x_btd[b, t, d]:.4g}, at sequence {read + b}, token {t}, channel {d}"

        places = np.argwhere(~np.isfinite(x_btd))
        if len(places):
            first = first or place(places[0])
            channels |= set(places[:, 2].tolist())
            count += len(places)
        elif (size_btd := np.abs(x_btd)).max() > largest:
            largest = float(size_btd.max())
            largest_at = place(np.unravel_index(size_btd.argmax(), x_btd.shape))
        read += len(x_btd)
    if not count:
        return f"activations are too large for float32 sums, the largest is {largest_at}: scale them down, or drop it"
    return (
        f"{count:,} activations are NaN or infinite, in channels {some(sorted(channels))}; the first is {first}: "
        "mend them, or drop their tokens (document_bt -1)"
    )


def _checked(batches: Batches) -> Batches:
    """The same stream, every batch looked at."""
    first, again = next(iter(batches()), None), next(iter(batches()), None)
    if first is None:
        raise NotIdentifiable("the stream is empty: give a function that returns an iterator of batches")
    if again is None or not all(map(_same, first, again)):
        raise NotIdentifiable(
            "the stream begins otherwise at its second reading, as one does that can be read once only: give a "
            "function that returns a new iterator over the same batches each time"
        )
    shape = np.shape(first[0])

    def stream() -> Iterator[tuple[jax.Array, jax.Array]]:
        for number, (x_btd, document_bt) in enumerate(batches(), start=1):
            document_bt = _checked_documents(x_btd, document_bt)
            if np.shape(x_btd) != shape:
                raise NotIdentifiable(
                    f"batch {number} of the stream has shape {np.shape(x_btd)}, the first {shape}: give all one shape, "
                    "filled up with positions of document -1"
                )
            yield x_btd, document_bt

    return stream


def _same(one: Any, other: Any) -> bool:
    """NaN is like itself."""
    one, other = np.asarray(one), np.asarray(other)
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _checked_documents(x_btd: Any, document_bt: Any) -> Any:
    """The documents as 32-bit numbers, where they and the activations can be used."""
    dtype = getattr(x_btd, "dtype", np.dtype(object))
    if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool)):
        raise NotIdentifiable(
            f"activations of type {dtype}: give real numbers [sequences, tokens, width], a `Store`, or a function that "
            "returns batches"
        )
    if np.ndim(x_btd) != 3 or 0 in np.shape(x_btd):
        raise NotIdentifiable(
            f"activations of shape {np.shape(x_btd)}: give [sequences, tokens, width], none of them 0 (of one "
            "sequence x[None])"
        )
    if np.shape(document_bt) != np.shape(x_btd)[:2]:
        raise NotIdentifiable(f"document_bt of shape {np.shape(document_bt)}: give one a token, {np.shape(x_btd)[:2]}")
    if getattr(document_bt, "dtype", None) == np.int32:
        return document_bt
    given_bt = np.asarray(document_bt)
    with np.errstate(invalid="ignore"):
        whole = given_bt.dtype.kind in "iuf" and (given_bt == given_bt.astype(np.int32)).all()
    if not whole:
        raise NotIdentifiable(
            f"document_bt of type {given_bt.dtype} holds what is no whole number of 32 bits: number documents from 0 "
            "(np.unique(..., return_inverse=True) does), and give dropped tokens -1"
        )
    return given_bt.astype(np.int32)


def _of_store(store: Store) -> Iterator[Any]:
    source = store.description.source
    rows = min(len(store), _rows((source.context, source.width)))
    return ordered_batches(store, split="all", heldout=0.5, batch=rows)


def _rows(shape: tuple[int, ...]) -> int:
    return max(1, NUMBERS // int(np.prod(shape)))
