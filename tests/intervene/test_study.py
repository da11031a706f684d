"""Laws of the whole study."""

import numpy as np
import pytest
from transformers import PreTrainedModel

from tcr_jax import Params
from tcr_jax.intervene.edges import Edge
from tcr_jax.intervene.passages import Passage
from tcr_jax.intervene.study import Study, study
from tests.intervene.conftest import LAYER

SOURCES = (3, 8)


def run(model: PreTrainedModel, params: Params, heldout: list[Passage], edges: list[Edge], **settings: object) -> Study:
    training = heldout[:20]
    return study(model, params, LAYER, training, heldout, edges, edited_layer=1, occurrences=12, **settings)


@pytest.fixture(scope="module")
def edges(params: Params) -> list[Edge]:
    """All edges of two sources."""
    b_lkk = np.asarray(params.process.b_lkk)
    return [
        Edge(source, target, lag + 1, float(b_lkk[lag, target, source]))
        for source in SOURCES
        for lag, target in zip(*map(np.ndarray.tolist, np.nonzero(b_lkk[:, :, source])), strict=True)
        if target != source
    ]


@pytest.fixture(scope="module")
def first(model: PreTrainedModel, params: Params, passages: list[Passage], edges: list[Edge]) -> Study:
    return run(model, params, passages[:60], edges)


def test_what_one_text_measures_another_text_confirms(
    model: PreTrainedModel, params: Params, passages: list[Passage], first: Study
) -> None:
    """Edges whose effects are those measured in one half of the text have nearly the right signs in the other."""
    measured = [
        Edge(edge.source, edge.target, edge.lag, edge.measured / edge.dose)
        for edge in first.found["addition", "edges"]
        if abs(edge.measured) > 4 * edge.error
    ]
    assert len(measured) >= 3
    second = run(model, params, passages[60:], measured)
    assert second.summary["addition_edges_signs"] > 0.85
    assert second.summary["addition_edges_rank"] > 0.6


def test_every_edge_has_controls_of_its_source_and_lag(params: Params, first: Study, edges: list[Edge]) -> None:
    """As many matched and random ones, of weight zero, measured at the same tokens."""
    b_lkk = np.asarray(params.process.b_lkk)
    for edit in ("removal", "addition"):
        assert [found[:4] for found in first.found[edit, "edges"]] == [tuple(edge) for edge in edges]
        for name in ("matched", "random"):
            for edge, control in zip(edges, first.found[edit, name], strict=True):
                assert (control.source, control.lag) == (edge.source, edge.lag)
                assert b_lkk[control.lag - 1, control.target, control.source] == 0


def test_removals_lower_and_additions_raise(first: Study) -> None:
    """Concepts here are never negative: the dose is negative where one is removed, positive where one is added."""
    assert all(edge.dose < 0 for edge in first.found["removal", "edges"])
    assert all(edge.dose > 0 for edge in first.found["addition", "edges"])


def test_no_edges_and_unknown_methods_are_named(
    model: PreTrainedModel, params: Params, passages: list[Passage], edges: list[Edge]
) -> None:
    """Nothing to test, or no such way to carry a direction."""
    with pytest.raises(ValueError, match="no delayed edges to intervene on"):
        run(model, params, passages[:10], [])
    with pytest.raises(ValueError, match="method='magic' is unknown; choose one of decoder, means"):
        run(model, params, passages[:20], edges, method="magic")
