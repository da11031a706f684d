"""The picture of the strongest relations."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from tcr_jax.relations.contexts import Contexts
from tcr_jax.relations.edges import Edge
from tcr_jax.relations.layout import Place, layered
from tcr_jax.relations.pictures import COLOURS, STYLE


def graph(edges: Sequence[Edge], contexts: Contexts, labels: Mapping[int, str], count: int = 40) -> Figure | None:
    """The strongest relations between different concepts; None where there are none.

    Time-delayed edges are solid and carry their lag, instantaneous ones are dashed; colour is the sign of the
    coefficient, width grows with the share of variance explained. Concepts link to `#concept-N`.

    Args:
      edges: reported relations, the best of each kind first.
      contexts: knows how the concepts are turned.
      labels: short name of each concept.
      count: relations drawn, half of them delayed where there are enough of both kinds.
    """
    good = [edge for edge in edges if edge.kind != "self" and edge.share > 0]
    delayed, instantaneous = ([edge for edge in good if (edge.lag > 0) == later] for later in (True, False))
    half = max(count // 2, count - len(delayed), count - len(instantaneous))
    chosen = (delayed[:half] + instantaneous[:half])[:count]
    if not chosen:
        return None
    places = layered([(edge.source, edge.target, edge.share) for edge in chosen], columns=6)
    columns = 1 + max(place.layer for place in places.values())
    rows = 1 + max(place.height for place in places.values())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.05 * columns, 0.38 * rows + 0.7))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.4, -1.3))
        axes.axis("off")
        renderer = FigureCanvasAgg(figure).get_renderer()
        edge_of = {}  # from the middle of a concept's box to its left or right side
        for node, place in places.items():
            text = axes.text(place.layer, place.height, _shorten(labels[node], 17), ha="center", va="center", zorder=3)
            text.set_url(f"#concept-{node}")
            text.set_bbox(
                {"boxstyle": "round,pad=.32", "fc": COLOURS["paper"], "ec": COLOURS["line"], "url": f"#concept-{node}"}
            )
            extent = text.get_window_extent(renderer).transformed(axes.transData.inverted())
            edge_of[node] = extent.width / 2 + 0.04
        for number, edge in enumerate(chosen):
            colour = COLOURS["positive" if edge.weight * contexts.sign(edge) > 0 else "negative"]
            _arrow(axes, edge, colour, chosen[:number], places, edge_of)
        handles = [
            Line2D([], [], color=COLOURS["positive"], label="raises"),
            Line2D([], [], color=COLOURS["negative"], label="lowers"),
            Line2D([], [], color=COLOURS["faint"], label="later, after so many tokens"),
            Line2D([], [], color=COLOURS["faint"], ls=(0, (3, 2)), label="within the token"),
        ]
        axes.legend(handles=handles, ncols=4, loc="upper left", fontsize=9, borderaxespad=0.2, handlelength=1.8)
    return figure


def _shorten(text: str, length: int) -> str:
    """At most `length` characters, the cut marked."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _arrow(
    axes: Axes,
    edge: Edge,
    colour: str,
    drawn: Sequence[Edge],
    places: Mapping[int, Place],
    edge_of: Mapping[int, float],
) -> None:
    source, target = places[edge.source], places[edge.target]
    beside = sum({edge.source, edge.target} == {other.source, other.target} for other in drawn)
    forward = target.layer > source.layer
    passes_others = abs(target.layer - source.layer) != 1
    bend = 0.18 * beside + (0.16 if passes_others else 0.0)
    start = (source.layer + (edge_of[edge.source] if forward else 0), source.height)
    stop = (target.layer - (edge_of[edge.target] if forward else 0), target.height)
    arrow = FancyArrowPatch(
        start,
        stop,
        arrowstyle="-|>",
        mutation_scale=9,
        connectionstyle=f"arc3,rad={bend}",
        linewidth=0.9 + 2.2 * math.sqrt(min(edge.share, 1)),
        linestyle="-" if edge.lag else (0, (3, 2)),
        color=colour,
        shrinkA=1 if forward else 12,
        shrinkB=1 if forward else 12,
        zorder=1,
    )
    axes.add_patch(arrow)
    if edge.lag:
        # Where the curve passes its middle: arc3's control point lies `bend` lengths aside, the curve half of that.
        (x0, y0), (x1, y1) = axes.transData.transform([start, stop])
        middle = (x0 + x1 + bend * (y1 - y0)) / 2, (y0 + y1 - bend * (x1 - x0)) / 2
        x, y = axes.transData.inverted().transform(middle)
        label = axes.text(x, y, str(edge.lag), ha="center", va="center", fontsize=8, color=colour, zorder=2)
        label.set_bbox({"boxstyle": "circle,pad=.15", "fc": COLOURS["paper"], "ec": "none"})
