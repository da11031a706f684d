"""The launcher of the closed form: from a trained run to a run of its own, with every figure."""

from pathlib import Path

import numpy as np

import tcr_jax
from tcr_jax.checkpoint import load_run
from tcr_jax.loop import train
from tests import programs


def test_from_run_to_run(small_store: Path, tmp_path: Path, cache: Path) -> None:
    """The new run loads, keeps the dictionary, and has the parents asked for and an acyclic M."""
    config = tcr_jax.Config(store=str(small_store), latents=24, topk=6, lags=1, batch=8, steps=2, decay=0.5)
    train(config, tmp_path / "run", tcr_jax.make_mesh(config))
    env, command = programs.environment(cache), ["-m", "experiments.process_fit"]
    command += [f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / 'new'}"]
    flags = ("--lags=2", "--parents=5", "--batch=16")
    done = programs.run(env, *command, *flags)
    assert done.returncode == 0, done.stderr
    assert "fitted" in done.stdout
    old, new = load_run(tmp_path / "run"), load_run(tmp_path / "new")
    np.testing.assert_array_equal(new.params.dictionary.encoder_kd, old.params.dictionary.encoder_kd)
    assert new.config.lags == 2 and new.config.mode == "both" and new.step == old.step
    process = new.params.process
    parents_k = (np.asarray(process.b_lkk) != 0).sum(axis=(0, 2)) + (np.asarray(process.m_kk) != 0).sum(axis=1)
    assert parents_k.max() == 5 and tcr_jax.is_acyclic(process.m_kk)
    again = programs.run(env, *command)
    assert again.returncode == 1 and "holds a run already" in again.stderr
    (tmp_path / "new" / "config.json").unlink()  # stopped while it was written
    failed = programs.run(env, *command, *flags, "--ladder", "--distance=100")
    assert failed.returncode == 1 and "lower distance" in failed.stderr
    assert not (tmp_path / "new" / "config.json").exists()
    other = tmp_path / "begun"  # by a training that has no checkpoint yet
    other.mkdir()
    (other / "config.json").write_text(config.to_json())
    refused = programs.run(env, *command[:-1], f"--out={other}", *flags)
    assert refused.returncode == 1 and "holds a run already" in refused.stderr
    assert (other / "config.json").read_text() == config.to_json()
