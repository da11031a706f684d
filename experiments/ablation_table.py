"""The table and the plot of ablations: one thing varied after the other, means and spread over seeds."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import launch

COLUMNS = {
    "heldout_fvu": "FVU",
    "heldout_silent": "never fire",
    "dictionary/code_variance": "code variance",
    "heldout_r2_past": "R² of z, past",
    "heldout_r2_past_present": "R² of z, past and M",
    "prediction/all/past/r2_z": "R² of z, past, closed form",
    "prediction/all/past/r2_x": "R² of x, past, closed form",
    "nonzero_b": "non-zero B",
    "nonzero_m": "non-zero M",
}
"""Held-out figures of a row: of the last line of metrics.jsonl, or YARDSTICK/NAME of evaluation.json."""

PLOTTED = ("heldout_fvu", "heldout_r2_past", "heldout_r2_past_present")

Row = dict[str, Any]


def markdown(lines: Mapping[tuple[str, str], list[Row]]) -> str:
    """A table a thing varied: means over the seeds, and the lowest and highest where there are several."""
    names = [name for name in COLUMNS if any(name in row["figures"] for rows in lines.values() for row in rows)]
    tables: dict[str, list[str]] = {}
    for (varied, value), rows in lines.items():
        head = [f"| {varied} | {' | '.join(COLUMNS[name] for name in names)} |", "|---" * (len(names) + 1) + "|"]
        cells = [_cell([row["figures"].get(name) for row in rows]) for name in names]
        tables.setdefault(varied, head).append(f"| {value} | {' | '.join(cells)} |")
    return "\n\n".join("\n".join(table) for table in tables.values()) + "\n"


def _cell(values: list[float | None]) -> str:
    there = [value for value in values if value is not None]
    if len(there) < len(values) or not there:
        return "-"
    spread = f" ({min(there):.3f} to {max(there):.3f})" if len(there) > 1 else ""
    return f"{statistics.mean(there):.3f}{spread}"


def plot(lines: Mapping[tuple[str, str], list[Row]], path: Path) -> None:
    """A column a thing varied, a row a figure, a point a seed; the line joins the means."""
    with launch.extra("report"):
        from matplotlib.figure import Figure

    varied = list(dict.fromkeys(name for name, _ in lines))
    figure = Figure(figsize=(2.6 * len(varied) + 1, 2.2 * len(PLOTTED)), layout="constrained")
    grid = figure.subplots(len(PLOTTED), len(varied), squeeze=False, sharey="row")
    for axes_n, name in zip(grid, PLOTTED, strict=True):
        for axes, thing in zip(axes_n, varied, strict=True):
            of_thing = {value: rows for (other, value), rows in lines.items() if other == thing}
            points = [[row["figures"].get(name, float("nan")) for row in rows] for rows in of_thing.values()]
            axes.plot(range(len(points)), [statistics.mean(values) for values in points], color="C0")
            for place, values in enumerate(points):
                axes.plot([place] * len(values), values, "o", color="C0", markersize=4)
            axes.set_xticks(range(len(points)), of_thing, rotation=30)
            axes.set_title(thing if name == PLOTTED[0] else "")
        axes_n[0].set_ylabel(COLUMNS[name])
    figure.savefig(path, dpi=110)
