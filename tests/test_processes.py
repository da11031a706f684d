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


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


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


@pytest.mark.parametrize("model_shards", [2, 4])
def test_two_processes_are_one_run(small_store: Path, cache: Path, tmp_path: Path, model_shards: int) -> None:
    """2 x 2 devices in two processes give the parameters of 4 in one: batch split (2 x 2), or shared (1 x 4)."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    flags = (f"--store={small_store}", *SMALL, f"--model_shards={model_shards}", "--steps=8")
    done = run(environment(cache / "alone", devices=4), "-m", "experiments.train", f"--workdir={alone}", *flags)
    assert done.returncode == 0, done.stderr
    first, second = train_together(cache, f"--workdir={together}", *flags)
    assert "finished at step 8" in first
    assert "step" not in second  # process 0 speaks and writes for both
    assert_same_parameters(alone, together)
    assert len((together / "metrics.jsonl").read_text().splitlines()) == 2


def test_one_process_continues_what_two_began(small_store: Path, cache: Path, tmp_path: Path) -> None:
    """Half a run by two processes, the rest by one, from the same place in the data: the run of one process."""
    alone, handed_over = tmp_path / "alone", tmp_path / "handed_over"
    flags = (f"--store={small_store}", *SMALL, "--model_shards=2", "--steps=16")
    train_together(cache, f"--workdir={handed_over}", *flags)
    shutil.rmtree(handed_over / "checkpoints" / "16")
    for workdir in (alone, handed_over):
        done = run(environment(cache / "alone", devices=4), "-m", "experiments.train", f"--workdir={workdir}", *flags)
        assert done.returncode == 0, done.stderr
    assert "continuing from step 8" in done.stdout
    assert_same_parameters(alone, handed_over)
