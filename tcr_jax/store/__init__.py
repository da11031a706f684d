"""Activations on disk: written once, shard by shard; read at random, in a shuffled order that can be resumed."""

from tcr_jax.store.arrays import open_array
from tcr_jax.store.description import Description, Shard, Source
from tcr_jax.store.files import StoreError
from tcr_jax.store.importer import import_arrays
from tcr_jax.store.keep import Keep
from tcr_jax.store.pipeline import Batch, ordered_batches, training_batches
from tcr_jax.store.reader import Store
from tcr_jax.store.records import Context
from tcr_jax.store.shards import finished_shards, write_shard
from tcr_jax.store.split import is_heldout
from tcr_jax.store.writer import begin, finish

__all__ = [
    "Batch",
    "Context",
    "Description",
    "Keep",
    "Shard",
    "Source",
    "Store",
    "StoreError",
    "begin",
    "finish",
    "finished_shards",
    "import_arrays",
    "is_heldout",
    "open_array",
    "ordered_batches",
    "training_batches",
    "write_shard",
]
