"""Several real processes on one machine train the same model as one."""

import shutil
import socket
from pathlib import Path

import jax
import numpy as np
import pytest

from tcr_jax.checkpoint import load_run
from tests.programs import SMALL, environment, run, start


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def train_together(cache: Path, *flags: str) -> list[str]:
    """Two processes of two devices each; returns what each printed."""
    at = ("-m", "experiments.train", f"--coordinator=127.0.0.1:{free_port()}", "--processes=2")
    both = [start(environment(cache / str(i), devices=2), *at, f"--process={i}", *flags) for i in range(2)]
    outputs = [program.communicate(timeout=300) for program in both]
    assert [program.returncode for program in both] == [0, 0], outputs[0][1][-2000:] + outputs[1][1][-2000:]
    return [out for out, _ in outputs]


def assert_same_parameters(workdir: Path, other: Path) -> None:
    """Up to the order in which devices add."""
    one, two = load_run(workdir).params, load_run(other).params
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def flags(store: Path, model_shards: int) -> tuple[str, ...]:
    return f"--store={store}", *SMALL, f"--model_shards={model_shards}", "--steps=16"


def train_alone(cache: Path, workdir: Path, store: Path) -> str:
    """One process of four devices; returns what it printed."""
    at = ("-m", "experiments.train", f"--workdir={workdir}", *flags(store, 2))
    done = run(environment(cache / "alone", devices=4), *at)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alone(small_store: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole run by one process."""
    workdir = tmp_path_factory.mktemp("alone")
    train_alone(cache, workdir, small_store)
    return workdir


@pytest.mark.parametrize("model_shards", [2, 4])
def test_two_processes_are_one_run(
    small_store: Path, cache: Path, alone: Path, tmp_path: Path, model_shards: int
) -> None:
    """2 x 2 devices in two processes give the parameters of 4 in one: batch split (2 x 2), or shared (1 x 4).

    And half a run by two processes, the rest by one, from the same place in the data, gives them too.
    """
    first, second = train_together(cache, f"--workdir={tmp_path}", *flags(small_store, model_shards))
    assert "finished at step 16" in first
    assert "step" not in second  # process 0 speaks and writes for both
    assert_same_parameters(alone, tmp_path)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    if model_shards == 2:
        shutil.rmtree(tmp_path / "checkpoints" / "16")
        assert "continuing from step 8" in train_alone(cache, tmp_path, small_store)
        assert_same_parameters(alone, tmp_path)


def test_two_processes_start_from_a_run(small_store: Path, cache: Path, alone: Path, tmp_path: Path) -> None:
    """Each reads the whole of it on a device of its own, and finds it undamaged."""
    more = (f"--start={alone}", "--steps=1", "--decay=0", "--learning_rate=1e-9", "--process_learning_rate=1e-9")
    first, _ = train_together(cache, f"--workdir={tmp_path}", *flags(small_store, 2), *more)
    assert f"starting from step 16 of {alone}" in first
    assert_same_parameters(alone, tmp_path)
