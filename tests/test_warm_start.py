"""A run that starts from another one: its concepts, in their places."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from tcr_jax import Config, ConfigError, make_mesh
from tcr_jax.checkpoint import CheckpointError, Run, load_run
from tcr_jax.loop import train
from tcr_jax.train_step import TrainState, make_init_state
from tcr_jax.warm_start import warm_start

FIRST = Config(latents=16, topk=4, lags=2, batch=8, steps=3, model_shards=2, checkpoint_every=3)


@pytest.fixture(scope="module")
def first(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps on eight devices, its dictionary split over two."""
    workdir, config = tmp_path_factory.mktemp("first"), dataclasses.replace(FIRST, store=str(small_store))
    train(config, workdir, make_mesh(config))
    return workdir


def started(config: Config, run: Run) -> tuple[TrainState, TrainState]:
    """The random start, and the warm one."""
    init = make_init_state(config, run.source.width, make_mesh(config))
    state = init(np.zeros(run.source.width, np.float32), np.float32(1))
    return state, warm_start(state, run.params)


def test_the_model_is_the_other_runs(first: Path) -> None:
    """Bit by bit and split as it would have been; with topk as it is here, and nothing of the optimiser's."""
    run = load_run(first)
    config = dataclasses.replace(FIRST, topk=3, seed=1, start=str(first))
    before, state = started(config, run)
    theirs = run.params.replace(dictionary=run.params.dictionary.replace(topk=3))
    jax.tree.map(np.testing.assert_array_equal, state.params, theirs)
    assert jax.tree.map(lambda leaf: leaf.sharding, state.params) == jax.tree.map(
        lambda leaf: leaf.sharding, before.params
    )
    assert np.abs(run.params.process.b_lkk).max() > 0
    assert int(state.step) == 0


@pytest.mark.parametrize(("change", "kept"), [({"lags": 1}, "m_kk"), ({"mode": "temporal"}, "b_lkk")])
def test_what_it_has_no_equal_of_starts_anew(first: Path, change: dict, kept: str) -> None:
    """B for another number of lags is zero; a process without M leaves M behind."""
    run = load_run(first)
    before, state = started(dataclasses.replace(FIRST, start=str(first), **change), run)
    assert jax.tree.structure(state) == jax.tree.structure(before)
    np.testing.assert_array_equal(getattr(state.params.process, kept), getattr(run.params.process, kept))
    if "lags" in change:
        assert np.abs(state.params.process.b_lkk).max() == 0


def test_training_goes_on_from_there(first: Path, small_store: Path, tmp_path: Path) -> None:
    """With next to no learning rate it ends where the other run did; and it says where it came from."""
    lines: list[str] = []
    config = dataclasses.replace(
        FIRST, store=str(small_store), start=str(first), seed=5, learning_rate=1e-9, process_learning_rate=1e-9
    )
    train(config, tmp_path, make_mesh(config), say=lines.append)
    assert f"starting from step 3 of {first}" in lines
    ours, theirs = load_run(tmp_path).params.dictionary, load_run(first).params.dictionary
    np.testing.assert_allclose(ours.decoder_kd, theirs.decoder_kd, atol=1e-6)
    again: list[str] = []
    train(config, tmp_path, make_mesh(config), say=again.append)
    assert any("continuing from step 3" in line for line in again), "a finished run starts nothing anew"


def test_a_run_that_was_killed_in_its_first_save_starts_there_again(
    first: Path, small_store: Path, tmp_path: Path
) -> None:
    """What is left of the save is no checkpoint: a random start would pass for the warm one."""
    config = dataclasses.replace(FIRST, store=str(small_store), start=str(first))
    (tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)
    lines: list[str] = []
    train(config, tmp_path, make_mesh(config), say=lines.append)
    assert f"starting from step 3 of {first}" in lines


def test_what_does_not_fit_is_named(first: Path, small_store: Path, tmp_path: Path) -> None:
    """Another size; and a directory without a run, before anything is trained."""
    config = dataclasses.replace(FIRST, store=str(small_store), start=str(first), latents=24, bias=False)
    with pytest.raises(ConfigError, match="latents=16 there, 24 here; bias=True there, False here"):
        train(config, tmp_path / "sizes", make_mesh(config))
    config = dataclasses.replace(FIRST, store=str(small_store), start=str(tmp_path / "nothing"))
    with pytest.raises(CheckpointError, match="holds no run"):
        train(config, tmp_path / "none", make_mesh(config))
    assert not any(tmp_path.iterdir()), "the directories are still free for the mended command"
