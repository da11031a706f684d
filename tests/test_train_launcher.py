"""experiments.train as a user starts it: what it writes, and what its flags do."""

import json
from pathlib import Path

import pytest

from tests.programs import SMALL, environment, run

LINE = {"step", "tokens", "loss", "reconstruction", "innovation", "sparsity", "acyclicity", "code", "revival"}
LINE |= {"fvu", "l0", "dead", "r2_past_present", "zeros_b", "zeros_m", "spectral_radius", "gradient_norm"}
HELDOUT = {"heldout_loss", "heldout_fvu", "heldout_l0", "heldout_silent", "heldout_r2_past", "heldout_r2_past_present"}


@pytest.fixture(scope="module")
def paper_run(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's preset at a small size, with a profile and a compilation cache."""
    workdir = tmp_path_factory.mktemp("run")
    flags = (*SMALL, "--steps=8", "--decay=0", "--preset=paper", "--latents=16", "--topk=4", "--profile_from=2")
    more = ("--profile_steps=2", f"--compilation_cache={workdir / 'cache'}")
    env = {k: v for k, v in environment(workdir).items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = run(env, "-m", "experiments.train", f"--store={small_store}", f"--workdir={workdir}", *flags, *more)
    assert done.returncode == 0, done.stderr
    return workdir


def test_every_line_of_the_metrics_is_complete(paper_run: Path) -> None:
    """Each has every loss term and figure; speed once it could be measured; held-out figures beside a checkpoint."""
    lines = [json.loads(line) for line in (paper_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    assert set(lines[0]) == LINE | {"tokens_per_second", "seconds_left"}
    assert set(lines[1]) == set(lines[0]) | HELDOUT


def test_the_configuration_is_the_preset_and_what_was_given(paper_run: Path) -> None:
    """config.json holds the paper's losses with the sizes of the command line."""
    config = json.loads((paper_run / "config.json").read_text())
    assert (config["innovation"], config["acyclicity"], config["bias"]) == ("laplace", "triangular", False)
    assert (config["latents"], config["lags"]) == (16, 2)


def test_profile_and_compilation_cache_are_written(paper_run: Path) -> None:
    """A trace of the steps asked for, and compiled programs for the next run."""
    assert list((paper_run / "profile").rglob("*.xplane.pb"))
    assert list((paper_run / "cache").iterdir())
