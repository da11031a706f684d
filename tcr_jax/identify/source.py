"""Data in: arrays and stores as streams of batches that can be read again and again."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.errors import NotIdentifiable
from tcr_jax.identify.types import Batches
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
      NotIdentifiable: the array is of another shape than said.
    """
    if isinstance(data, Store):
        return lambda: ((batch.x_btd, batch.document_bt) for batch in _of_store(data))
    if callable(data):
        return data
    x_btd = np.asarray(data)
    if x_btd.ndim != 3:
        raise NotIdentifiable(f"activations of shape {x_btd.shape}: give [sequences, tokens, width]")
    if document_bt is None:
        document_bt = np.broadcast_to(np.arange(len(x_btd))[:, None], x_btd.shape[:2])
    if np.shape(document_bt) != x_btd.shape[:2]:
        raise NotIdentifiable(f"document_bt of shape {np.shape(document_bt)}: give one a token, {x_btd.shape[:2]}")
    size = min(len(x_btd), _rows(x_btd.shape[1:]))

    def stream() -> Iterator[tuple[jax.Array, jax.Array]]:
        for first in range(0, len(x_btd), size):
            part_btd, part_bt = x_btd[first : first + size], np.asarray(document_bt[first : first + size])
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


def _of_store(store: Store) -> Iterator[Any]:
    source = store.description.source
    return ordered_batches(store, split="all", heldout=0.5, batch=_rows((source.context, source.width)))


def _rows(shape: tuple[int, ...]) -> int:
    return max(1, NUMBERS // int(np.prod(shape)))
