"""Pictures hold the numbers that they are given."""

import numpy as np
import pytest

from tcr_jax.intervene.edges import Intervention
from tcr_jax.relations.comparisons import effects, ladder, signs_by_rank
from tcr_jax.relations.pictures import png


def edge(direct: float, measured: float) -> Intervention:
    return Intervention(0, 1, 1, 1.0, direct, direct, direct, measured, 0.1, 9)


FOUND = {
    ("removal", "edges"): [edge(1, 0.5), edge(-2, -0.3), edge(1, -0.1), edge(-1, 0.2)],
    ("removal", "matched"): [edge(1, -0.5)],
    ("addition", "edges"): [edge(1, -0.5), edge(1, 0.5)],
    ("addition", "matched"): [edge(1, 0.5)],
}


def test_effects() -> None:
    """A panel for each edit and set, at each point predicted and measured change; what lacks is blank."""
    axes = {panel.get_title(loc="left"): panel for panel in effects(FOUND).axes}
    assert list(axes) == [f"{edit}, {name}" for edit, name in FOUND]
    points = axes["removal, edges"].containers[0].lines[0].get_xydata()
    np.testing.assert_allclose(points, [(1, 0.5), (-2, -0.3), (1, -0.1), (-1, 0.2)])
    assert png(effects({("removal", "a"): FOUND["removal", "edges"], ("addition", "b"): [edge(1, 1)]}))


def test_signs_by_rank() -> None:
    """Shares of right signs among the first one, two, three and four."""
    removal, addition = signs_by_rank(FOUND).axes
    np.testing.assert_allclose(removal.lines[0].get_ydata(), [1, 1, 2 / 3, 1 / 2])
    np.testing.assert_allclose(addition.lines[0].get_ydata(), [0, 1 / 2])


def test_ladder() -> None:
    """Domains in the order of the first rung, all of them together at the top; a rung that was not scored is named."""
    parts = ("all", "xml", "books")
    figures = {f"{part}/{rung}/r2_x": 0.1 * n for n, part in enumerate(parts) for rung in ("VAR", "past")}
    axes = ladder(figures | {"all/tokens": 5.0}, ("VAR", "past")).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["xml", "books", "all"]
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [0.1, 0.2, 0])
    with pytest.raises(ValueError, match="no r2_x of token among"):
        ladder(figures, ("VAR", "token"))
