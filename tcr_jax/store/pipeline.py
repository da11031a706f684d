"""Grain over a store: batches in a shuffled order that resumes anywhere, on any number of processes; or in order, once.

A batch says for every position which document it belongs to, and DROPPED where it was not kept or belongs to the
other split: all that its consumers need to know.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import grain
import numpy as np

from tcr_jax.store.description import DTYPES
from tcr_jax.store.files import StoreError
from tcr_jax.store.reader import Store
from tcr_jax.store.split import Split, in_split
from tcr_jax.typing import DROPPED


class Batch(NamedTuple):
    """This process's part of a batch of contexts."""

    x_btd: np.ndarray  # activations, in the store's dtype
    token_bt: np.ndarray  # int32
    document_bt: np.ndarray  # int32: DROPPED where not kept, or of the other split


def training_batches(
    store: Store,
    *,
    heldout: float,
    batch: int,
    seed: int,
    shard_index: int = 0,
    shard_count: int = 1,
    prefetch: int = 2,
) -> grain.DatasetIterator:
    """Batches of training documents without end, every epoch in another order that `seed` fixes.

    The batch of a step holds the same contexts on any number of processes. `get_state()` is one JSON-able dict, equal
    on all processes, from which `set_state` resumes exactly, in the middle of an epoch and on another number of
    processes.

    Args:
      store: where the contexts are read.
      heldout: share of the documents never trained on.
      batch: contexts a step, over all processes.
      seed: of the order.
      shard_index: this process, from 0.
      shard_count: processes.
      prefetch: batches read ahead, each by a thread of its own.

    Raises:
      StoreError: no document is left to train on, or the batch does not divide over the processes.
    """
    _check_divides(batch, shard_count)
    contexts = grain.MapDataset.source(_contexts(store, "train", heldout)).seed(seed).shuffle().repeat()
    batches = grain.experimental.ElasticIterator(
        contexts.map(functools.partial(_row, store, "train", heldout)),
        batch,
        grain.sharding.ShardOptions(shard_index=shard_index, shard_count=shard_count),
        read_options=_read_options(prefetch),
    )
    return iter(batches)


def ordered_batches(
    store: Store,
    *,
    split: Split,
    heldout: float,
    batch: int,
    limit: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
    prefetch: int = 2,
) -> Iterator[Batch]:
    """One pass over the contexts of a split, in order; the last batch is filled up with contexts that are all dropped.

    Args:
      split: `train`, `heldout` or `all`.
      limit: at most this many batches, taken evenly from all over the split.
      (the others): as for `training_batches`.

    Raises:
      StoreError: no document is in the split, or the batch does not divide over the processes.
    """
    _check_divides(batch, shard_count)
    index_n = _contexts(store, split, heldout)
    if limit is not None and len(index_n) > limit * batch:
        index_n = index_n[np.linspace(0, len(index_n), limit * batch, endpoint=False).astype(int)]
    index_n = np.append(index_n, np.full(-len(index_n) % batch, DROPPED))
    contexts = grain.MapDataset.source(index_n)[shard_index::shard_count]
    rows = contexts.map(functools.partial(_row, store, split, heldout))
    batches = iter(rows.batch(batch // shard_count).to_iter_dataset(_read_options(prefetch)))
    try:
        yield from batches
    finally:
        batches.close()


def _row(store: Store, split: Split, heldout: float, index: int) -> Batch:
    """One row of a batch: context `index`, or a context that is all dropped where `index` is."""
    if index == DROPPED:
        source = store.description.source
        token_t = np.zeros(source.context, np.int32)
        return Batch(np.zeros((source.context, source.width), DTYPES[source.dtype]), token_t, token_t + DROPPED)
    context = store[index]
    usable_t = context.kept_t & in_split(context.document_t, split, heldout)
    document_t = np.where(usable_t, context.document_t, np.int32(DROPPED))
    return Batch(context.activations_td, context.token_t, document_t)


def _contexts(store: Store, split: Split, heldout: float) -> np.ndarray:
    index_n = store.contexts(split, heldout)
    if not len(index_n):
        raise StoreError(
            f"none of the store's {store.description.documents} documents is in the split {split!r} "
            f"with heldout={heldout}; change heldout, or extract more documents"
        )
    return index_n


def _check_divides(batch: int, shard_count: int) -> None:
    if batch % shard_count:
        raise StoreError(f"batch={batch} does not divide evenly over {shard_count} processes; change batch")


def _read_options(prefetch: int) -> grain.ReadOptions:
    return grain.ReadOptions(num_threads=prefetch, prefetch_buffer_size=prefetch)
