"""Recovering known worlds as a user does it: rows, tables, plots, and the ends of rows that fail."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.isolated import Died, isolated
from experiments.recovery_row import Stream, plain
from experiments.scratch import in_file
from tcr_jax.identify.source import remembered
from tcr_jax.worlds import WorldConfig, make_world
from tests.programs import environment, run, start

SMALL = ("--latents=4", "--parents=1", "--context=100", "--tokens=2000", "--heldout=500")


def test_a_row_has_every_measure_by_name(tmp_path: Path, cache: Path) -> None:
    """One command: a readable table, and in metrics.json scores, time, memory, world, assumptions and versions."""
    pytest.importorskip("sklearn")
    env, out = environment(cache), tmp_path / "out"
    flags = ("--estimator=var_fastica", "--world=a5", "--seed=3", f"--out={out}")
    done = run(env, "-m", "experiments.synthetic", *flags, *SMALL)
    assert done.returncode == 0, done.stderr
    header, line = done.stdout.splitlines()[-2:]
    row = json.loads((out / "metrics.json").read_text())
    assert dict(zip(header.split(), line.split(), strict=True))["z_mcc"] == f"{row['z_mcc']:.4f}"
    for name in ("z_mcc_floor", "z_mcc_worst", "zprime_mcc", "eps_mcc", "B_f1", "M_f1", "M_shd_1"):
        assert isinstance(row[name], float)
    assert (row["estimator"], row["preset"], row["tokens"], row["heldout"]) == ("var_fastica", "a5", 2000, 500)
    assert row["world"]["graph"] == "a5" and row["world"]["seed"] == 3 and row["world"]["latents"] == 4
    assert row["seconds"] > 0 and row["cpu_seconds"] > 0 and row["peak_memory_bytes"] >= row["start_memory_bytes"] > 0
    assert row["assumptions"]["a5_one_child"]["holds"] is True
    assert set(row["machine"]["versions"]) >= {"jax", "numpy", "scipy"}
    assert row["command"].startswith("python -m experiments.synthetic --estimator=var_fastica")


def test_rows_that_fail_are_named(tmp_path: Path, cache: Path) -> None:
    """An estimator that cannot work with a world says why, and the command ends with status 1."""
    flags = ("--estimator=gradient", "--preset=wide", "--width=3")
    done = run(environment(cache), "-m", "experiments.synthetic", *flags, *SMALL)
    assert done.returncode == 1
    assert "gradient-0 failed: latents=4 concepts cannot be read linearly from 3 channels" in done.stdout
    assert done.stderr.strip() == "error: 1 of 1 rows failed: gradient-0"


@pytest.mark.parametrize("flag", ["--out", "--scratch"])
def test_a_place_that_cannot_be_written_is_told_before_any_work(tmp_path: Path, cache: Path, flag: str) -> None:
    """No estimator runs, only for its result to be lost."""
    (tmp_path / "file").touch()
    flags = ("--estimator=gradient", f"{flag}={tmp_path / 'file' / 'out'}")
    done = run(environment(cache), "-m", "experiments.synthetic", *flags, *SMALL)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("error: [Errno 20] Not a directory")


def row(estimator: str, latents: int, seed: int, **values: Any) -> dict[str, Any]:
    scores = dict.fromkeys(("z_mcc", "z_mcc_worst", "eps_mcc", "B_f1", "M_f1", "seconds"), 0.5)
    fixed = {"preset": "paper", "tokens": 1000, "z_mcc_floor": 0.868, "peak_memory_bytes": 2e9}
    return {"estimator": estimator, "world": {"latents": latents, "seed": seed}, **scores, **fixed, **values}


def test_the_table_holds_median_and_worst_over_seeds(tmp_path: Path) -> None:
    """Higher is better for scores, lower for seconds; a measure that a seed lacks is left out; plots are written."""
    pytest.importorskip("matplotlib")
    results, out = tmp_path / "results", tmp_path / "out"
    rows = [row("l1_m", 64, seed, z_mcc=z, seconds=s) for seed, (z, s) in enumerate([(0.9, 3), (0.7, 9), (0.8, 1)])]
    rows += [row("varlingam", 64, 0, B_f1=None), row("l1_m", 128, 0), row("l1_m", 128, 0)]  # one seed, kept twice
    rows += [row("l1_m", 64, 3, z_mcc_floor=None, world={"latents": 64, "seed": 3, "lags": 5})]  # of another world
    for number, values in enumerate(rows):
        (results / str(number)).mkdir(parents=True)
        (results / str(number) / "metrics.json").write_text(json.dumps(values))
    command = ("-m", "experiments.synthetic_table", f"--results={results}")
    done = run(dict(os.environ), *command, f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (out / "table.md").read_text()
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("| paper | 64 | 1e+03 | l1_m | 3 | 0.868 | 0.80000 (0.70000) |")
    assert "| 3 (9) | 2 (2) |" in lines[2]
    assert lines[4].startswith("| paper | 128 | 1e+03 | l1_m | 1 |")
    assert lines[3].count("| - |") == 1 and "varlingam (z given)" in lines[3]
    assert lines[5].startswith("| paper, lags=5 | 64 | 1e+03 | l1_m | 1 | - |")
    for name in ("paper.png", "paper-lags=5.png"):
        assert (out / name).stat().st_size > 10_000
    (results / "0" / "metrics.json").write_text("{}")
    done = run(dict(os.environ), *command)
    assert done.returncode == 1 and "metrics.json was not written by experiments.synthetic" in done.stderr


def test_numbers_that_are_not_finite_are_null() -> None:
    """NaN and infinity have no place in JSON; NumPy's numbers become Python's."""
    values = {"a": np.float32(0.5), "b": [math.nan, np.int64(2)], "c": (math.inf, True, np.bool_(False)), "d": "x"}
    assert json.dumps(plain(values)) == '{"a": 0.5, "b": [null, 2], "c": [null, true, false], "d": "x"}'


def test_a_stream_beyond_its_share_of_memory_is_simulated_anew() -> None:
    """Where nothing may be kept each pass makes its batches again, and they are the same."""
    batches = make_world(WorldConfig(latents=4, parents=1.0, context=20)).batches(5, batch=2)
    stream = Stream(remembered(batches, 0), 3, "name")
    first = [x_btd for x_btd, _ in stream()]
    second = [x_btd for x_btd, _ in stream()]
    assert not any(a is b for a, b in zip(first, second, strict=True))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_a_file_holds_what_memory_does_not(tmp_path: Path) -> None:
    """A reading that is given up half-way leaves nothing behind; the first whole one is the last that simulates."""
    batches = make_world(WorldConfig(latents=4, parents=1.0, context=20)).batches(5, batch=2)
    simulated = 0

    def counted() -> Iterator[tuple[jax.Array, jax.Array]]:
        nonlocal simulated
        for batch in batches():
            simulated += 1
            yield batch

    with in_file(counted, str(tmp_path)) as stream:
        next(stream())
        readings = [list(stream()) for _ in range(3)]
    assert simulated == 1 + 3
    for reading in readings:
        for (x_btd, document_bt), (wanted_btd, wanted_bt) in zip(reading, batches(), strict=True):
            np.testing.assert_array_equal(x_btd, wanted_btd)
            np.testing.assert_array_equal(document_bt, wanted_bt)
    with pytest.raises(OSError, match="missing"), in_file(batches, str(tmp_path / "missing")):
        pass


def test_a_stream_is_simulated_once_and_timed() -> None:
    """Each pass yields the same batches, from the second on without simulating; the time it took is known."""
    batches = make_world(WorldConfig(latents=4, parents=1.0, context=20)).batches(5, batch=2)
    stream = Stream(remembered(batches, 2**20), 3, "name")
    first = list(stream())
    seconds = stream.seconds
    second = list(stream())
    assert seconds > 0 and len(first) == 3
    assert all(a is b for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True))


def test_a_process_that_dies_is_reported() -> None:
    """Results and errors come back from the process; one that is killed is an error in words."""
    assert isolated(max, 3, 5) == 5
    with pytest.raises(ValueError, match="invalid literal"):
        isolated(int, "x")
    with pytest.raises(Died, match="ended without a result"):
        isolated(os._exit, 9)


def test_a_process_ends_with_its_launcher() -> None:
    """Killed, the launcher cannot stop it; what it prints to is closed all the same, though it had much left to do."""
    long = "import time; print('at work', flush=True); time.sleep(600)"
    program = start(dict(os.environ), "-c", f"from experiments.isolated import isolated; isolated(exec, {long!r})")
    assert program.stdout is not None and program.stdout.readline() == "at work\n"
    program.kill()
    program.communicate(timeout=120)  # returns when nobody is left that could print
