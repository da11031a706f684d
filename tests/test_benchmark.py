"""The benchmark as a user starts it: what it writes, and that it counts operations as one would by hand."""

import json
from pathlib import Path

import pytest

from tests.programs import environment, run

TINY = ("--latents=16", "--topk=4", "--width=8", "--batch=4", "--context=8", "--steps=3")
TOKENS, WIDTH, LATENTS, LAGS = 4 * 8, 8, 16, 2


def test_every_figure_is_written(cache: Path, tmp_path: Path) -> None:
    """One JSON object: speed, operations as counted by hand, memory that adds up, and the time of every part."""
    out = tmp_path / "figures.json"
    flags = (*TINY, f"--lags={LAGS}", "--parts", f"--out={out}")
    done = run(environment(cache), "-m", "experiments.benchmark", *flags)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())

    product = 2 * TOKENS * WIDTH * LATENTS  # one matrix product of the dictionary; `effect` is one of B_l or M
    effect = 2 * TOKENS * LATENTS * LATENTS
    assert figures["operations"] == {
        "encode": 2 * product,
        "decode": 3 * product,
        "lags": 3 * LAGS * effect,
        "M": 3 * effect,
    }
    assert len(figures["step_seconds"]) == 3
    assert sorted(figures["step_seconds"])[1] == figures["step_seconds_median"]
    assert figures["tokens_per_second"] == pytest.approx(TOKENS / figures["step_seconds_median"])
    speed = sum(figures["operations"].values()) / figures["step_seconds_median"]
    assert figures["operations_per_second"] == pytest.approx(speed)
    assert figures["share_of_peak"] == pytest.approx(speed / max(figures["matmul_peak"]))
    assert figures["operations_xla"] > 0
    assert figures["compile_seconds"] > 0

    memory = figures["memory"]
    parameters = 2 * LATENTS * WIDTH + (LAGS + 1) * LATENTS**2
    assert memory["arguments"] > 3 * 4 * parameters  # with both of Adam's moments
    assert memory["step"] == memory["arguments"] + memory["temporaries"] + memory["outputs"] - memory["aliased"]
    assert memory["resident_peak"] > memory["step"]
    assert memory["device_peak"] is None

    parts = ("encode", "lags", "M", "acyclicity", "decode", "revival", "figures", "optimiser")
    assert set(figures["parts"]) == set(parts)
    assert all(part["seconds"] > 0 for part in figures["parts"].values())
    assert all(f"\n  {part} " in done.stdout for part in parts)


def test_parts_that_the_model_lacks_are_left_out(cache: Path, tmp_path: Path) -> None:
    """Without M, on two devices that share the parameters: no operations and no part of M, and no penalty on it."""
    out = tmp_path / "figures.json"
    values = ("--mode=temporal", "--activation=batch_topk", "--model_shards=2", "--steps=1")
    done = run(environment(cache, 2), "-m", "experiments.benchmark", *TINY, *values, "--parts", f"--out={out}")
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["machine"]["devices"] == 2
    assert set(figures["operations"]) == {"encode", "decode", "lags"}
    assert not {"M", "acyclicity"} & set(figures["parts"])


def test_a_batch_that_does_not_divide_is_refused(cache: Path) -> None:
    """The error of the mesh, without a traceback."""
    done = run(environment(cache, 3), "-m", "experiments.benchmark", *TINY)
    assert done.returncode == 1
    assert "batch=4 does not divide over 3 data shards" in done.stderr
    assert "Traceback" not in done.stderr
