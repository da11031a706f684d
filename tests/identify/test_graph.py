"""A graph under search: it stays acyclic, and every change can be taken back."""

import networkx as nx
import numpy as np

from tcr_jax.identify.columns import Columns, Prior
from tcr_jax.identify.graph import Graph

K = 7


def empty() -> Graph:
    column_rk = np.random.default_rng(0).normal(size=(10, K))
    return Graph(Columns(column_rk, np.full_like(column_rk, 0.01), Prior(3.0, 1.0, 1.0, 1.0)))


def edges(graph: Graph) -> list[tuple[int, int]]:
    """From concept to child."""
    return [(j, i) for j, children in enumerate(graph.children) for i in children]


def test_no_cycle_is_ever_closed() -> None:
    """Of many random edges exactly those are refused that would lead back."""
    graph, rng = empty(), np.random.default_rng(1)
    for _ in range(200):
        j, i = rng.choice(K, 2, replace=False)
        trial = nx.DiGraph(edges(graph) + [(int(j), int(i))])
        taken = graph.try_assign(int(j), graph.children[j] | {int(i): 0.5}, 1.0)
        assert taken == nx.is_directed_acyclic_graph(trial)
    assert nx.is_directed_acyclic_graph(nx.DiGraph(edges(graph)))


def test_near_are_concepts_one_or_two_edges_apart() -> None:
    """In any direction: children, parents, and theirs."""
    graph = empty()
    for j, i in [(0, 1), (1, 2), (3, 2), (2, 4), (5, 6)]:
        graph.assign(j, graph.children[j] | {i: 1.0}, 1.0)
    undirected = nx.Graph(edges(graph))
    distance = dict(nx.all_pairs_shortest_path_length(undirected))
    for a in range(K):
        near = {b for b in range(K) if b != a and graph.near_kk[a, b]}
        assert near == {b for b, steps in distance[a].items() if 1 <= steps <= 2}


def test_above_are_all_ancestors() -> None:
    """The concept itself, and all that lead to it."""
    graph = empty()
    for j, i in [(0, 1), (1, 2), (3, 2), (2, 4), (5, 6)]:
        graph.assign(j, graph.children[j] | {i: 1.0}, 1.0)
    assert graph.above(2) == {0, 1, 2, 3}
    assert graph.above(0) == {0}


def test_changes_are_taken_back() -> None:
    """After `restore` children, parents and cost are as they were."""
    graph = empty()
    graph.assign(0, {1: 0.5, 2: 0.1}, 4.0)
    kept, total = graph.state(0, 1), graph.total
    graph.assign(0, {}, 9.0)
    graph.assign(1, {0: 2.0}, 7.0)
    assert graph.above(0) == {0, 1}
    graph.assign(1, {}, 0.0)
    graph.restore(kept)
    assert (graph.children[0], graph.children[1], graph.total) == ({1: 0.5, 2: 0.1}, {}, total)
    assert graph.above(2) == {0, 2}
    assert graph.above(0) == {0}
