"""The launcher of the ablations: rows that exist are not run again, and one run serves every table that it is in."""

import json
from pathlib import Path

import pytest

from experiments.ablation_table import COLUMNS, PLOTTED, markdown, plot
from tests import programs


def test_rows_are_run_once(small_store: Path, tmp_path: Path, cache: Path) -> None:
    """What is there is kept, other settings are refused, and a layer that is the base's own is no new run."""
    out = tmp_path / "out"
    given = (
        f"--store={small_store}",
        f"--out={out}",
        "--latents=16",
        "--topk=4",
        "--lags=2",
        "--batch=8",
        "--decay=0.5",
    )

    def ablations(*flags: str) -> tuple[int, str, str]:
        command = ("-m", "experiments.ablations", *given, *flags)
        done = programs.run(programs.environment(cache), *command)
        return done.returncode, done.stdout, done.stderr

    status, text, errors = ablations("--steps=2", "--only=bias", "--yardsticks=")
    assert status == 0, errors
    rows = json.loads((out / "rows.json").read_text())
    assert set(rows) == {"base/seed0", "bias=False/seed0"}
    assert [rows[name]["config"]["bias"] for name in rows] == [True, False]
    assert 0 < rows["base/seed0"]["figures"]["heldout_fvu"] < 2
    assert (out / "ablations.png").stat().st_size > 1000
    status, text, _ = ablations("--steps=2", "--only=bias,layer", f"--layer_store=1:{small_store}", "--yardsticks=")
    assert status == 0 and "finished" not in text
    bias, layer = (out / "table.md").read_text().split("\n\n")
    assert bias.splitlines()[2].partition("|")[2] == " True |" + layer.splitlines()[2].removeprefix("| 1 |")
    status, _, errors = ablations("--steps=3", "--only=bias")
    assert status == 1 and "rows of other settings (steps: 2 -> 3); give another --out" in errors
    status, _, errors = ablations("--steps=2", "--only=topk,lag")
    assert status == 1 and "topk=32: topk=32 is more than latents=16; lower topk or add latents; or leave" in errors
    (out / "rows.json").write_text("{")
    status, _, errors = ablations("--steps=2", "--only=bias")
    assert status == 1 and f"error: {out / 'rows.json'}: damaged" in errors


def test_table_and_plot_over_seeds(tmp_path: Path) -> None:
    """The mean over the seeds with its range; a dash where a seed lacks the figure; no column that nobody has."""

    def row(fvu: float, **others: float) -> dict:
        return {"figures": {"heldout_fvu": fvu, **others}}

    lines = {("lags", "1"): [row(0.2), row(0.3)], ("lags", "2"): [row(0.5, nonzero_b=0.25)]}
    assert markdown(lines).splitlines() == [
        f"| lags | {COLUMNS['heldout_fvu']} | {COLUMNS['nonzero_b']} |",
        "|---|---|---|",
        "| 1 | 0.250 (0.200 to 0.300) | - |",
        "| 2 | 0.500 | 0.250 |",
    ]
    pytest.importorskip("matplotlib")
    assert "heldout_fvu" in PLOTTED
    plot(lines, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
