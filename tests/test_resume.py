"""A run that is stopped in any way and started again ends with the parameters of a run that never was."""

import json
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from tcr_jax.checkpoint import load_run
from tests.programs import SMALL, environment, run, start

# Trains as experiments.train does, but the process kills itself at a point of our choice:
# KILL=step:N before step N, or save:N inside the save of step N, when all is written but nothing is in its place yet.
SUICIDAL = """
import os, pathlib, signal, sys
from experiments import train
kind, at = os.environ["KILL"].split(":")
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if kind == "save":
    rename = os.rename
    os.rename = lambda a, b, **k: die() if pathlib.Path(b).name == at else rename(a, b, **k)
    path_rename = pathlib.Path.rename
    pathlib.Path.rename = lambda a, b: die() if pathlib.Path(b).name == at else path_rename(a, b)
else:
    call = train.processes.Termination.__call__
    train.processes.Termination.__call__ = lambda self, step: die() if step == int(at) else call(self, step)
train.launch.run(train.main)
"""


@pytest.fixture(scope="module")
def env(cache: Path) -> dict[str, str]:
    return environment(cache, devices=2)


@pytest.fixture(scope="module")
def uninterrupted(small_store: Path, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("uninterrupted")
    done = run(env, "-m", "experiments.train", f"--store={small_store}", f"--workdir={workdir}", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "finished at step 24" in done.stdout
    return workdir


def assert_same_run(workdir: Path, other: Path) -> None:
    """The same parameters bit by bit, and the same metrics but for the clock."""
    ours, theirs = load_run(workdir), load_run(other)
    assert ours.step == theirs.step == 24
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)

    def numbers(directory: Path) -> list[dict[str, float]]:
        lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k not in ("tokens_per_second", "seconds_left")} for line in lines]

    assert numbers(workdir) == numbers(other)


def test_killed_at_any_moment(small_store: Path, uninterrupted: Path, env: dict[str, str], tmp_path: Path) -> None:
    """SIGKILL before the first checkpoint, inside a save, between two saves, and inside the last save."""
    flags = (f"--store={small_store}", f"--workdir={tmp_path}", *SMALL)
    none, one, two = set(), {"8"}, {"8", "16"}
    # Steps are quick here and saving is asynchronous: at step 13 the checkpoint of step 8 may or may not be there.
    for point, left in [
        ("step:3", [none]), ("save:8", [none]), ("step:13", [none, one]), ("save:16", [one]), ("save:24", [two])
    ]:
        died = run({**env, "KILL": point}, "-c", SUICIDAL, *flags)
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert {p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()} in left
    last = run(env, "-m", "experiments.train", *flags)
    assert last.returncode == 0, last.stderr
    assert "continuing from step 16" in last.stdout
    assert_same_run(tmp_path, uninterrupted)


def test_terminated_politely(small_store: Path, uninterrupted: Path, env: dict[str, str], tmp_path: Path) -> None:
    """SIGTERM saves where it is and exits with 0; the run then continues, here from the configuration it saved."""
    flags = (f"--store={small_store}", f"--workdir={tmp_path}", *SMALL)
    with start(env, "-m", "experiments.train", *flags) as program:
        for line in program.stdout:
            if line.startswith("step 4/"):
                program.send_signal(signal.SIGTERM)
                break
        rest = program.stdout.read()
    assert program.returncode == 0
    if "finished" not in rest:  # it may have been quicker than the signal
        assert "asked to stop: saved step" in rest
    saved = run(env, "-m", "experiments.train", f"--config={tmp_path / 'config.json'}", f"--workdir={tmp_path}")
    assert saved.returncode == 0, saved.stderr
    assert_same_run(tmp_path, uninterrupted)


def test_a_workdir_of_another_run_is_left_alone(
    small_store: Path, uninterrupted: Path, env: dict[str, str]
) -> None:
    """Other values that decide the numbers are refused by name, and nothing of the run is touched."""
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    flags = (f"--store={small_store}", f"--workdir={uninterrupted}", *SMALL, "--topk=5", "--seed=9")
    refused = run(env, "-m", "experiments.train", *flags)
    assert refused.returncode == 1
    assert "holds a run with another configuration (there -> here): topk: 4 -> 5; seed: 0 -> 9" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")} == before


def test_a_full_disk_loses_nothing(small_store: Path, env: dict[str, str], tmp_path: Path) -> None:
    """Where a checkpoint cannot be written, the run ends with the reason and the last complete one, which is whole."""
    limited = """
import resource, signal, sys
from experiments import train
from tcr_jax.checkpoint import Checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
save = Checkpoints.save
def save_on_a_disk_that_fills(self, state, *rest):
    if int(state.step) == 16:
        self.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    save(self, state, *rest)
Checkpoints.save = save_on_a_disk_that_fills
train.launch.run(train.main)
"""
    flags = (f"--store={small_store}", f"--workdir={tmp_path}", *SMALL, "--latents=128")
    failed = run(env, "-c", limited, *flags)
    assert failed.returncode == 1
    assert "saving to" in failed.stderr
    assert "The last complete checkpoint is step 8" in failed.stderr
    assert load_run(tmp_path).step == 8


def test_divergence_names_the_last_good_checkpoint(small_store: Path, env: dict[str, str], tmp_path: Path) -> None:
    """A loss that is no longer finite ends the run at once; what was saved before is untouched."""
    poisoned = """
from experiments import train
from tcr_jax import loop
make = loop.make_train_step
def make_poisoned(*args):
    step = make(*args)
    return lambda state, x, document: step(state, x * (float("nan") if int(state.step) == 10 else 1), document)
loop.make_train_step = make_poisoned
train.launch.run(train.main)
"""
    diverged = run(env, "-c", poisoned, f"--store={small_store}", f"--workdir={tmp_path}", *SMALL)
    assert diverged.returncode == 1
    assert "step 11: " in diverged.stderr
    assert "The last good checkpoint is step 8" in diverged.stderr
    assert load_run(tmp_path).step == 8


