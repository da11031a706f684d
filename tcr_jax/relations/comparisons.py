"""Pictures that compare: predicted with measured effects, signs by rank, and what predicts x in each domain."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tcr_jax.intervene.table import Found
from tcr_jax.relations.pictures import COLOURS, STYLE
from tcr_jax.yardsticks.folders import POOLED

OF_SET = {"edges": "positive", "own": "third", "matched": "negative", "random": "faint"}
MARKS = "os^Dv<>ph"


def effects(found: Found) -> Figure:
    """Predicted against measured changes with their standard errors, a row for each edit, a panel for each set."""
    edits, names = ([*dict.fromkeys(column)] for column in zip(*found, strict=True))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(names) + 0.6, 2.5 * len(edits) + 0.6), layout="constrained")
        panels = figure.subplots(len(edits), len(names), squeeze=False)
        for (edit, name), members in found.items():
            axes = panels[edits.index(edit), names.index(name)]
            at = [edge.direct for edge in members], [edge.measured for edge in members]
            error = [edge.error for edge in members]
            axes.errorbar(*at, error, fmt="o", ms=3, lw=0.7, color=COLOURS[OF_SET.get(name, "ink")])
            axes.axhline(0, color=COLOURS["line"], lw=0.8, zorder=0)
            axes.axvline(0, color=COLOURS["line"], lw=0.8, zorder=0)
            axes.set_title(f"{edit}, {name}")
        figure.supxlabel("predicted change of the target (effect × dose)", size=10)
        figure.supylabel("measured change, ± 1 standard error", size=10)
    return figure


def signs_by_rank(found: Found) -> Figure:
    """The share of right signs among the first n edges, in the order given; a panel an edit, a line a set."""
    edits = [*dict.fromkeys(edit for edit, _ in found)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(edits), 3), layout="constrained")
        panels = figure.subplots(1, len(edits), squeeze=False, sharey=True)[0]
        for (edit, name), members in found.items():
            right = np.sign([edge.direct for edge in members]) == np.sign([edge.measured for edge in members])
            number = np.arange(1, len(right) + 1)
            axes = panels[edits.index(edit)]
            axes.plot(number, np.cumsum(right) / number, color=COLOURS[OF_SET.get(name, "ink")], label=name)
            axes.axhline(0.5, color=COLOURS["faint"], lw=0.8, ls=":")
            axes.set_title(edit)
            axes.set_xlabel("first edges of the table")
            axes.set_ylim(0, 1.03)
        panels[0].set_ylabel("share of right signs")
        panels[0].legend(loc="lower right", fontsize=8.5)
    return figure


def ladder(figures: Mapping[str, float], rungs: Sequence[str], value: str = "r2_x") -> Figure:
    """One figure of each of some predictors, pooled and by domain; `figures` are those of `prediction_ladder`.

    Raises:
      ValueError: a predictor was not scored.
    """
    missing = [rung for rung in rungs if f"{POOLED}/{rung}/{value}" not in figures]
    if missing:
        raise ValueError(f"no {value} of {', '.join(missing)} among the predictions; score them with --ladder")
    parts = sorted({name.split("/")[0] for name in figures} - {POOLED})
    parts.sort(key=lambda part: figures[f"{part}/{rungs[0]}/{value}"])
    at = [*parts, POOLED]
    colours = [COLOURS[name] for name in ("ink", "positive", "third", "negative", "faint")]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 0.32 * len(at) + 1.1), layout="constrained")
        axes = figure.subplots()
        axes.hlines(range(len(at)), 0, 1, color=COLOURS["line"], lw=0.6, zorder=0)
        for number, rung in enumerate(rungs):
            marker, colour = MARKS[number % len(MARKS)], colours[number % len(colours)]
            values = [figures[f"{part}/{rung}/{value}"] for part in at]
            axes.plot(values, range(len(at)), ls="none", ms=5, label=rung, alpha=0.9, marker=marker, color=colour)
        everything = [figures[f"{part}/{rung}/{value}"] for part in at for rung in rungs]
        axes.set_xlim(min(0, *everything) - 0.02, max(everything) + 0.02)
        axes.set_yticks(range(len(at)), at)
        axes.set_xlabel({"r2_x": "R² of x, held out", "r2_z": "R² of z, held out"}.get(value, value))
        axes.legend(fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
