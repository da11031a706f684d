"""Small stores whose every token can be told apart: token id = context * POSITIONS + position."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tcr_jax import store
from tcr_jax.store.description import DTYPES

POSITIONS, WIDTH, PER_SHARD = 8, 6, 5


@pytest.fixture
def source() -> store.Source:
    return store.Source(model="tiny", layer=3, width=WIDTH, context=POSITIONS, dtype="bfloat16", kept_policy="one in 8")


@pytest.fixture
def make_context() -> Callable[..., store.Context]:
    def make(number: int, dtype: str = "bfloat16") -> store.Context:
        """Context `number` holds the end of document `number` and the beginning of the next; position 0 is dropped."""
        x_td = np.random.default_rng(number).normal(2, 1, (POSITIONS, WIDTH)).astype(DTYPES[dtype])
        position_t = np.arange(POSITIONS, dtype=np.int32)
        token_t = np.int32(number * POSITIONS) + position_t
        return store.Context(x_td, token_t, number + (position_t >= 5).astype(np.int32), position_t > 0)

    return make


@pytest.fixture
def write_store(tmp_path: Path, source: store.Source, make_context: Callable) -> Callable[..., Path]:
    def write(shards: int = 2, name: str = "store") -> Path:
        directory = tmp_path / name
        pieces = [f"<{token}>" for token in range(shards * PER_SHARD * POSITIONS)]
        store.begin(directory, source, pieces, shards)
        for index in range(shards):
            numbers = range(index * PER_SHARD, (index + 1) * PER_SHARD)
            store.write_shard(directory, source, index, map(make_context, numbers))
        store.finish(directory, source, shards)
        return directory

    return write
