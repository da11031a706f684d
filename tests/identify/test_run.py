"""Parameters of a solver become a run that loads, trains on, and refuses what does not fit."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Config, Params, make_mesh
from tcr_jax.checkpoint import CheckpointError, load_run
from tcr_jax.config import ConfigError
from tcr_jax.identify import save_run
from tcr_jax.loop import train
from tcr_jax.worlds import WorldConfig, make_world, write_store

WORLD = make_world(WorldConfig(latents=6, parents=2.0, context=16, seed=2))
PARAMS = WORLD.params.replace(process=WORLD.params.process.replace(intercept_k=0.1 * jnp.arange(6.0)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "store"
    write_store(WORLD, directory, 60)
    return directory


def same(one: Params, other: Params) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_what_is_saved_is_loaded_and_trained_on(store: Path, tmp_path: Path) -> None:
    """Every number; then `train` goes on from step 0 to its last, and the dictionary is still near the answer."""
    config = save_run(PARAMS, store, tmp_path / "run", steps=2, batch=8, decay=0.5, learning_rate=1e-4)
    saved = load_run(tmp_path / "run")
    assert same(saved.params, PARAMS) and saved.step == 0 and saved.config == config
    assert Config.from_json((tmp_path / "run" / "config.json").read_text()) == config
    told: list[str] = []
    outcome = train(config, tmp_path / "run", make_mesh(config), say=told.append)
    assert outcome.finished and any("step 0" in line for line in told)
    after = outcome.state.params.dictionary.decoder_kd
    assert not np.array_equal(after, PARAMS.dictionary.decoder_kd)
    np.testing.assert_allclose(after, PARAMS.dictionary.decoder_kd, atol=1e-3)


@pytest.mark.parametrize(
    ("params", "settings", "error", "message"),
    [
        (PARAMS, {"lags": 3}, ConfigError, r"process.b_lkk has shape \(2, 6, 6\), .* asks for \(3, 6, 6\)"),
        (WORLD.params, {}, ConfigError, r"intercept_k has shape None, .* asks for \(6,\)"),
        (PARAMS, {"rate": 1}, TypeError, "rate"),
        (
            make_world(dataclasses.replace(WORLD.config, width=7)).params,
            {"intercept": False},
            ConfigError,
            r"encoder_kd has shape \(6, 7\), and the store of width 6",
        ),
    ],
    ids=["lags", "intercept", "unknown", "width"],
)
def test_what_does_not_fit_is_refused(
    store: Path, tmp_path: Path, params: Params, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    """With both shapes, before anything is written."""
    with pytest.raises(error, match=message):
        save_run(params, store, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_no_run_is_written_over(store: Path, tmp_path: Path) -> None:
    """A directory with a configuration is taken."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="holds a run already"):
        save_run(PARAMS, store, tmp_path)


def test_a_call_that_was_killed_is_repeated(store: Path, tmp_path: Path) -> None:
    """Without its configuration a run is not whole yet; checkpoints that training made are never taken for that."""
    run = tmp_path / "run"
    save_run(PARAMS, store, run)
    (run / "config.json").unlink()
    save_run(PARAMS, store, run)
    assert same(load_run(run).params, PARAMS)
    (run / "config.json").unlink()
    (run / "checkpoints" / "0").rename(run / "checkpoints" / "7")
    with pytest.raises(CheckpointError, match="holds a run already"):
        save_run(PARAMS, store, run)
