"""Tables and plots of recovered worlds: median and worst over seeds, from the metrics.json that `synthetic` wrote.

    python -m experiments.synthetic_table --results=DIR [--out=DIR]

Reads every metrics.json below --results. Prints a Markdown table; with --out also writes it to DIR/table.md, and one
plot a world to DIR/WORLD.png: z MCC with its floor, F1 of B and M, seconds and memory against k, a line an estimator.
A world is its preset with the fields that were given other values, such as `realistic, lags=5`.
"""

import dataclasses
import json
import math
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from experiments import launch
from tcr_jax.files import write_text
from tcr_jax.knobs import ConfigError
from tcr_jax.worlds import PRESETS, WorldConfig

_RESULTS = flags.DEFINE_string("results", None, "directory with metrics.json files, at any depth", required=True)
_OUT = flags.DEFINE_string("out", None, "directory for table.md and plots; needs the extra `report`")

Row = dict[str, Any]

BETTER_HIGH = ("z_mcc", "z_mcc_worst", "eps_mcc", "B_f1", "M_f1")
BETTER_LOW = ("seconds", "peak_memory_bytes")
UNITS = {"peak_memory_bytes": ("GB", 1e9)}


GIVEN = {"varlingam": "varlingam (z given)"}
"""Estimators whose MCC of z says nothing, as they are told it."""


class Cell(NamedTuple):
    """One setting and one estimator, whatever the seed: the order of the table."""

    world: str
    latents: int
    tokens: int
    estimator: str


def read(results: Path) -> list[Row]:
    """Every row found. Raises `ConfigError` where there is none, or where a file holds something else."""
    rows = []
    for path in sorted(results.rglob("metrics.json")):
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            world = row["world"]
            named = {"world": world_name(row["preset"], world), "latents": world["latents"], "seed": world["seed"]}
            rows.append({**row, **named})
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} was not written by experiments.synthetic ({error!r}); move it away") from error
    if not rows:
        raise ConfigError(f"no metrics.json below {results}; write some with experiments.synthetic --out={results}")
    return rows


def world_name(preset: str, fields: Row) -> str:
    """The preset, and what of the world's fields differs from it, but for the number of concepts and the seed."""
    usual = {field.name: field.default for field in dataclasses.fields(WorldConfig)} | PRESETS.get(preset, {})
    ignored = ("latents", "seed")
    changed = [f"{name}={value}" for name, value in fields.items() if name not in ignored and value != usual.get(name)]
    return ", ".join([preset, *changed])


def grouped(rows: list[Row]) -> dict[Cell, list[Row]]:
    """Rows that differ in their seed alone, together."""
    cells = defaultdict(list)
    for row in rows:
        cells[Cell(*(row[name] for name in Cell._fields))].append(row)
    return dict(sorted(cells.items()))


def median_and_worst(rows: list[Row], name: str) -> tuple[float, float] | None:
    """Over seeds; None where a seed has no such number."""
    values = [row[name] for row in rows]
    if None in values:
        return None
    return statistics.median(values), (max if name in BETTER_LOW else min)(values)


def markdown(rows: list[Row]) -> str:
    """One line a cell; `median (worst)`."""
    names = [UNITS.get(name, (name, 1))[0] for name in (*BETTER_HIGH, *BETTER_LOW)]
    lines = ["| world | k | time steps | estimator | seeds | floor | " + " | ".join(names) + " |"]
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for cell, of_cell in grouped(rows).items():
        floor = median_and_worst(of_cell, "z_mcc_floor")
        texts = [
            cell.world,
            str(cell.latents),
            f"{cell.tokens:.3g}",
            GIVEN.get(cell.estimator, cell.estimator),
            str(len({row["seed"] for row in of_cell})),
        ]
        texts.append("-" if floor is None else f"{floor[0]:.3f}")
        for name in (*BETTER_HIGH, *BETTER_LOW):
            pair, unit = median_and_worst(of_cell, name), UNITS.get(name, ("", 1))[1]
            form = ".5f" if "mcc" in name else ".3f" if "f1" in name else ".3g"
            texts.append("-" if pair is None else f"{pair[0] / unit:{form}} ({pair[1] / unit:{form}})")
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def plot(rows: list[Row], path: Path) -> None:
    """Of one world: medians over seeds against k, with bars down (for costs: up) to the worst."""
    with launch.extra("report"):
        from matplotlib.figure import Figure

    panels = {
        "z_mcc": "MCC of z (grey: floor, M ignored)",
        "B_f1": "F1 of B's edges",
        "M_f1": "F1 of M's edges",
        "seconds": "seconds",
        "peak_memory_bytes": "peak memory, GB",
    }
    cells = grouped(rows)
    sizes = sorted({cell.latents for cell in cells})
    estimators = sorted({cell.estimator for cell in cells})
    figure = Figure(figsize=(4 * len(panels), 4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        unit = UNITS.get(name, ("", 1))[1]
        for number, estimator in enumerate(estimators):
            points = [
                (cell.latents, pair[0] / unit, abs(pair[0] - pair[1]) / unit)
                for cell, of_cell in cells.items()
                if cell.estimator == estimator and (pair := median_and_worst(of_cell, name)) is not None
            ]
            if points:
                k, middle, bar = zip(*points, strict=True)
                zeros = [0.0] * len(bar)
                bars = [zeros, bar] if name in BETTER_LOW else [bar, zeros]
                axes.errorbar(
                    k, middle, bars, label=GIVEN.get(estimator, estimator), color=f"C{number}", marker="o", capsize=3
                )
        if name == "z_mcc":
            floors = [median_and_worst([row for row in rows if row["latents"] == k], "z_mcc_floor") for k in sizes]
            axes.plot(sizes, [pair[0] if pair else math.nan for pair in floors], "--", color="grey")
        if name in BETTER_LOW:
            axes.set_yscale("log")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(k) for k in sizes])
        axes.set_xlabel("concepts (k)")
        axes.set_title(title)
    figure.axes[0].legend()
    figure.suptitle(f"world: {rows[0]['world']}")
    figure.savefig(path, dpi=120)


def main() -> None:
    rows = read(Path(_RESULTS.value))
    text = markdown(rows)
    print(text, end="")
    if _OUT.value:
        out = Path(_OUT.value)
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "table.md", text)
        for world in sorted({row["world"] for row in rows}):
            plot([row for row in rows if row["world"] == world], out / f"{world.replace(', ', '-')}.png")


if __name__ == "__main__":
    launch.run(main)
