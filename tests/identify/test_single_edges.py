"""Single edges: found where they pay, and offers counted again for changed concepts alone."""

import networkx as nx
import numpy as np
import pytest

from tcr_jax.identify.columns import Columns, Prior
from tcr_jax.identify.graph import Graph
from tcr_jax.identify.single_edges import Offers, improve, renew

K = 6
EFFECTS = {(0, 1): 0.6, (0, 2): -0.4, (2, 3): 0.5}
"""By concept and child."""


def graph() -> Graph:
    """Sparse columns of B, and of B' = B (I - M)^{-1} with the effects above; no edge yet."""
    rng = np.random.default_rng(0)
    b_rk = rng.uniform(0.2, 0.5, (96, K)) * (rng.random((96, K)) < 0.25)
    m_kk = np.zeros((K, K))
    for (j, i), effect in EFFECTS.items():
        m_kk[i, j] = effect
    deviation_rk = np.full_like(b_rk, 0.01)
    column_rk = b_rk @ np.linalg.inv(np.eye(K) - m_kk) + deviation_rk * rng.normal(size=b_rk.shape)
    return Graph(Columns(column_rk, deviation_rk, Prior(threshold=3.0, size_b=0.4, size_m=0.5, price_m=1.0)))


def test_single_edges_find_a_graph() -> None:
    """From none to the true ones, their effects within the noise."""
    searched = graph()
    improve(searched)
    found = {(j, i): effect for j, children in enumerate(searched.children) for i, effect in children.items()}
    assert found == pytest.approx(EFFECTS, abs=0.05)
    assert searched.total < graph().total


def test_an_edge_that_closes_a_cycle_takes_the_place_of_a_weaker_one() -> None:
    """From the wrong way round: 1 -> 0 stands, 0 -> 1 is cheaper, and both would be a cycle."""
    searched = graph()
    searched.assign(1, *searched.columns.refit(1, {0: 0.1}))
    improve(searched)
    assert 1 in searched.children[0]
    assert nx.is_directed_acyclic_graph(nx.from_numpy_array(searched.m_kk, create_using=nx.DiGraph))


def test_offers_are_renewed_where_children_changed() -> None:
    """And are then what a graph that never had others would give."""
    searched, offers = graph(), dict[int, Offers]()
    renew(offers, searched)
    before = dict(offers)
    searched.assign(2, *searched.columns.refit(2, {3: 0.5}))
    renew(offers, searched)
    assert [j for j in range(K) if offers[j] is not before[j]] == [2]
    anew = dict[int, Offers]()
    renew(anew, searched)
    assert offers[2].bases == anew[2].bases
    np.testing.assert_array_equal(offers[2].change_bc, anew[2].change_bc)
    assert len(offers[2].bases) == 2  # with its child, and without
