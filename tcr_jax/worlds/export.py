"""A world's activations as a store, so that everything that trains on activations trains on them unchanged."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tcr_jax.store import Context, Description, Source, begin, finish, finished_shards, write_shard
from tcr_jax.typing import DROPPED
from tcr_jax.worlds.world import World

PIECE = "·"  # the text of the only token id: a world has no words


def write_store(
    world: World,
    directory: Path | str,
    sequences: int,
    *,
    fold: int = 0,
    shard_bytes: int = 2**26,
    progress: Callable[[int, int], None] = lambda done, shards: None,
) -> Description:
    """Writes the documents that `world.batches(sequences, fold=fold)` yields, one a context, in float32.

    Continues where a killed call with the same arguments stopped. Every token has id 0.

    Args:
      world: what to simulate.
      directory: of the store, created where missing.
      sequences: documents.
      fold: of the stream.
      shard_bytes: size that a shard does not pass, unless by its only document.
      progress: called after every shard with the shards done and those in all.

    Raises:
      ValueError: there are no sequences to write, or `fold` is negative.
      StoreError: the directory holds another store, or the disk did not take it.
    """
    if sequences < 1 or fold < 0:
        raise ValueError(f"sequences={sequences}, fold={fold}: a store needs at least 1 sequence and a fold from 0")
    config = world.config
    text = json.dumps({**dataclasses.asdict(config), "sequences": sequences, "fold": fold}, sort_keys=True)
    source = Source(
        model=f"synthetic world {hashlib.sha256(text.encode()).hexdigest()[:16]}",
        layer=0,
        width=config.channels,
        context=config.context,
        dtype="float32",
        kept_policy="all kept",
        text=text,
    )
    share = max(1, shard_bytes // (4 * config.context * config.channels))
    shards = -(-sequences // share)
    begin(directory, source, [PIECE], shards)
    finished = finished_shards(directory)
    for index in range(shards):
        if index not in finished:
            start = index * share
            write_shard(directory, source, index, _contexts(world, start, min(share, sequences - start), fold))
        progress(index + 1, shards)
    return finish(directory, source, shards)


def _contexts(world: World, start: int, sequences: int, fold: int) -> Iterator[Context]:
    """One context a document."""
    for x_btd, document_bt in world.batches(sequences, fold=fold, start=start)():
        for x_td, document_t in zip(np.asarray(x_btd), np.asarray(document_bt), strict=True):
            if document_t[0] != DROPPED:
                yield Context(x_td, np.zeros_like(document_t), document_t, np.ones(len(document_t), bool))
