"""The places of concepts in the picture of relations."""

import itertools

import numpy as np
import pytest

from tcr_jax.relations.layout import layered


@pytest.mark.parametrize("seed", range(5))
def test_sources_stand_left_of_what_they_drive(seed: int) -> None:
    """On any DAG every edge points to the right, and no two concepts stand in one place."""
    rng = np.random.default_rng(seed)
    edges = [(i, j, rng.random()) for i, j in itertools.combinations(range(20), 2) if rng.random() < 0.1]
    places = layered(edges, columns=4)
    assert set(places) == {node for source, target, _ in edges for node in (source, target)}
    assert all(places[source].layer < places[target].layer for source, target, _ in edges)
    assert len(set(places.values())) == len(places)


def test_the_weakest_edge_of_a_cycle_points_back() -> None:
    """A cycle has no order: the strong edges keep theirs."""
    places = layered([(0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.1)], columns=4)
    assert places[0].layer < places[1].layer < places[2].layer
