"""Worlds as stores."""

from pathlib import Path

import numpy as np
import pytest

from tcr_jax.store import Store, StoreError
from tcr_jax.worlds import WorldConfig, make_world, write_store

CONFIG = WorldConfig(latents=6, width=8, parents=2.0, context=10)


def test_a_store_holds_the_documents_of_the_stream(tmp_path: Path) -> None:
    """In float32, one document a context, over several shards; progress counts them."""
    world, seen = make_world(CONFIG), []
    description = write_store(
        world, tmp_path, sequences=6, fold=2, shard_bytes=700, progress=lambda *done: seen.append(done)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert description.tokens == 60 and description.documents == 6
    x_btd, _ = next(world.batches(6, fold=2)())
    store = Store.open(tmp_path)
    contexts = [store[index] for index in range(6)]
    np.testing.assert_allclose(np.stack([context.activations_td for context in contexts]), x_btd, atol=1e-5)
    assert [set(context.document_t.tolist()) for context in contexts] == [{number} for number in range(6)]
    assert all(context.kept_t.all() for context in contexts)


def test_a_killed_export_goes_on_and_another_world_is_refused(tmp_path: Path) -> None:
    """Shards that are there stay; a store is never mixed from two worlds."""
    world = make_world(CONFIG)

    def kill(done: int, shards: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(world, tmp_path / "killed", sequences=6, shard_bytes=700, progress=kill)
    continued = write_store(world, tmp_path / "killed", sequences=6, shard_bytes=700)
    assert continued.digest == write_store(world, tmp_path / "whole", sequences=6, shard_bytes=700).digest
    with pytest.raises(StoreError, match="begun with other settings"):
        write_store(world, tmp_path / "killed", sequences=6, shard_bytes=700, fold=1)
    for wrong in ({"sequences": 0}, {"sequences": 6, "fold": -1}):
        with pytest.raises(ValueError, match="needs at least 1 sequence and a fold from 0"):
            write_store(world, tmp_path / "none", **wrong)
    assert not (tmp_path / "none").exists()
