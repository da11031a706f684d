"""How pictures look and are written, and the two plain ones: the lag profile and the training curves."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tcr_jax.relations.edges import Strength

# Each colour has a name of its own, under which the page sets it again for light and dark.
COLOURS = {"ink": "#22262b", "faint": "#8b929a", "line": "#d4d8dd", "positive": "#1f6fb2", "negative": "#c2502e"}
COLOURS |= {"paper": "#fefefe", "third": "#3f8f5b"}
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "svg.hashsalt": "relations",
    "text.parse_math": False,
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["faint"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "xtick.color": COLOURS["faint"],
    "ytick.color": COLOURS["faint"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "legend.frameon": False,
    "axes.unicode_minus": True,
}


def lags(strengths: Sequence[Strength], losses: Mapping[int, float]) -> Figure | None:
    """By lag, 0 being the token itself: the sum of |standardised coefficients|, and the R² lost without that lag."""
    if not strengths:
        return None
    at = [strength.lag for strength in strengths]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.bar(at, [strength.mass for strength in strengths], color=_kinds(at), width=0.7)
        left.set_title("Sum of |standardised coefficients|")
        right.bar(at, [losses[lag] for lag in at], color=_kinds(at), width=0.7)
        right.axhline(0, color=COLOURS["faint"], lw=0.8)
        right.set_title("Held-out R² lost without it")
        for axes in (left, right):
            axes.set_xticks(at, ["within\ntoken" if lag == 0 else str(lag) for lag in at])
            axes.set_xlabel("tokens back")
            axes.margins(y=0.12)
    return figure


def curves(metrics: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Training curves against tokens read: unexplained variance, R² of the concepts, exact zeros; held-out as dots."""
    panels = {
        "Unexplained variance of x (FVU)": ("fvu", "heldout_fvu"),
        "R² of concepts": ("r2_past", "heldout_r2_past", "r2_past_present", "heldout_r2_past_present"),
        "Share of exact zeros": ("zeros_b", "zeros_m"),
    }
    if not any(name in line for line in metrics for names in panels.values() for name in names):
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.5), layout="constrained")
        for axes, (title, names) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            axes.set_title(title)
            axes.set_xlabel("tokens read")
            for name in names:
                _curve(axes, metrics, name)
            if title.startswith("R²"):  # the first steps may lie far below zero
                low, high = axes.get_ylim()
                axes.set_ylim(max(low, -0.1), max(high, 0.05))
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=8.5, loc="upper left", bbox_to_anchor=(-0.02, -0.28))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure


def svg(figure: Figure, name: str, title: str) -> str:
    """The figure as an inline SVG element: colours are the page's variables, ids start with `name`."""
    out = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser has the fonts that this machine lacks
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    for colour, value in COLOURS.items():
        text = text.replace(value, f"var(--{colour})")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'xlink:href="#(?!concept-)', f'xlink:href="#{name}-', text).replace("url(#", f"url(#{name}-")
    text = text.replace('<a xlink:href="', '<a href="').replace(' target="_blank"', "")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r" font-family: [^;\"]*;", "", text)  # the page's own
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def png(figure: Figure) -> bytes:
    """The figure as a PNG on white."""
    out = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(out, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def _kinds(at: Sequence[int]) -> list[str]:
    return [COLOURS["third"] if lag == 0 else COLOURS["positive"] for lag in at]


def _curve(axes: Axes, metrics: Sequence[Mapping[str, Any]], name: str) -> None:
    points = [(line["tokens"], line[name]) for line in metrics if isinstance(line.get(name), int | float)]
    if not points:
        return
    heldout = name.startswith("heldout_")
    plain = name.removeprefix("heldout_")
    colour = COLOURS["third" if plain in ("r2_past_present", "zeros_m") else "positive"]
    label = {"fvu": "", "r2_past": "past", "r2_past_present": "past + present", "zeros_b": "B", "zeros_m": "M"}[plain]
    if heldout:
        label = f"{label}, held-out".lstrip(", ")
    style = {"ls": "none", "marker": "o", "ms": 4} if heldout else {"lw": 1.4, "alpha": 0.85}
    axes.plot(*zip(*points, strict=True), color=colour, label=label or "training", **style)
