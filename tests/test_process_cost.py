"""The launcher that compares the closed form with gradient descent: what it counts, and what it finds."""

import json
from pathlib import Path

import numpy as np

import tcr_jax
from experiments.process_operations import Size, gradient_operations, measure_size, moment_operations
from tcr_jax.loop import train
from tcr_jax.store import Batch
from tests import programs


def test_counts_by_hand() -> None:
    """Two documents and a dropped token: tokens with full history, the ends of their runs, products one by one."""
    document_bt = np.array([[0, 0, 0, 0, 1, 1, 1, 1], [2, 2, 2, -1, 2, 2, 2, 2]])
    size = measure_size([Batch(np.zeros((2, 8, 3)), document_bt, document_bt)], latents=10, lags=2, active=4)
    assert size == Size(10, 2, 4, tokens=7, ends=8)
    assert moment_operations(size, skip_zeros=False) == 2 * 7 * 3 * 10 * 10
    assert moment_operations(size, skip_zeros=True) == 2 * 7 * 3 * 4 * 4
    assert moment_operations(size._replace(latents=128), skip_zeros=False) == 2 * 7 * 3 * 4 * 4
    forward_and_backward = 2 * (2 * 10 * 10 * 2) * 70
    assert gradient_operations(size, 70, 0, skip_zeros=False) == forward_and_backward
    assert gradient_operations(size, 70, 0, skip_zeros=True) == forward_and_backward * 4 / 10


def test_the_routes_meet(small_store: Path, tmp_path: Path, cache: Path) -> None:
    """With tokens enough gradient descent comes to the figures of the closed form, at many times its operations."""
    config = tcr_jax.Config(store=str(small_store), latents=24, topk=6, lags=1, batch=8, steps=2, decay=0.5)
    train(config, tmp_path / "run", tcr_jax.make_mesh(config))
    out = tmp_path / "new" / "rows.json"
    flags = ("--lags=1", "--parents=6", "--ridge=0", "--budget=2000", "--budget=200000", "--rate=0.01", "--at=96,4,3")
    command = ["-m", "experiments.process_cost", f"--workdir={tmp_path / 'run'}", f"--out={out}"]
    done = programs.run(programs.environment(cache), *command, *flags)
    assert done.returncode == 0, done.stderr
    *other, few, full, short, long = json.loads(out.read_text())
    assert few["r2_z"] < full["r2_z"] and short["r2_z"] < full["r2_z"] - 0.02
    assert abs(long["r2_z"] - full["r2_z"]) < 0.01
    assert long["as_run"] > 50 * full["as_run"] and long["nonzero"] < long["as_run"]
    assert [row["latents"] for row in other] == [96] * 3 and all("r2_z" not in row for row in other)
    wrong = programs.run(programs.environment(cache), *command, "--at=96,4")
    assert wrong.returncode == 1 and "at='96,4' must be three whole numbers" in wrong.stderr
