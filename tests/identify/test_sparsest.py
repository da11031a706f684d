"""The sparsest acyclic M: the true one, on worlds where it is the sparsest."""

import itertools

import networkx as nx
import numpy as np
import pytest

from tcr_jax.identify.columns import Columns
from tcr_jax.identify.sparsest import _expect, sparsest_acyclic
from tcr_jax.worlds import WorldConfig, make_world


def delayed(config: WorldConfig) -> tuple[np.ndarray, np.ndarray]:
    """(B', M) of a world."""
    world = make_world(config)
    m_kk = world.m.toarray()
    return np.stack([b.toarray() for b in world.b]) @ np.linalg.inv(np.eye(len(m_kk)) - m_kk), m_kk


def expecting(b_lkk: np.ndarray, deviation_lkk: np.ndarray, m_kk: np.ndarray) -> Columns:
    """Columns with the prior that M suggests."""
    column_rk, deviation_rk = (of.reshape(-1, len(m_kk)) for of in (b_lkk, deviation_lkk))
    return Columns(column_rk, deviation_rk, _expect(column_rk, deviation_rk, m_kk))


def cost(columns: Columns, m_kk: np.ndarray) -> float:
    """What the search minimises, of a given M."""
    return sum(columns.cost(j, {int(i): m_j[i] for i in np.flatnonzero(m_j)}) for j, m_j in enumerate(m_kk.T))


@pytest.mark.parametrize(("parents", "noise"), [(1.0, 0.0), (1.0, 1.0), (3.0, 1.0)])
def test_the_true_m_is_found(parents: float, noise: float) -> None:
    """Exactly the true edges, their effects within the noise, at no higher a cost than the truth's."""
    b_lkk, m_kk = delayed(WorldConfig(latents=32, instant_parents=parents))
    deviation_lkk = np.full_like(b_lkk, 0.004)
    b_lkk = b_lkk + noise * deviation_lkk * np.random.default_rng(0).normal(size=b_lkk.shape)
    found = sparsest_acyclic(b_lkk, deviation_lkk)
    np.testing.assert_array_equal(found != 0, m_kk != 0)
    np.testing.assert_allclose(found, m_kk, atol=0.05 * noise + 0.01)
    columns = expecting(b_lkk, deviation_lkk, found)
    assert cost(columns, found) <= cost(columns, m_kk) + 0.1


def test_the_answer_is_acyclic_whatever_the_data() -> None:
    """Also where B' is noise, or every column is a mixture of the same few."""
    rng = np.random.default_rng(1)
    noise_lkk, low_rank_lkk = rng.normal(size=(2, 8, 8)), rng.normal(size=(2, 8, 2)) @ rng.normal(size=(2, 8))
    for b_lkk in (noise_lkk, low_rank_lkk):
        found = sparsest_acyclic(b_lkk, np.full_like(b_lkk, 0.05))
        assert nx.is_directed_acyclic_graph(nx.from_numpy_array(found, create_using=nx.DiGraph))


def test_a_single_concept_has_no_m() -> None:
    """Nothing to be explained by."""
    assert sparsest_acyclic(np.full((2, 1, 1), 0.4), np.full((2, 1, 1), 0.01)).tolist() == [[0]]


@pytest.mark.parametrize("seed", range(10))
def test_among_three_concepts_no_graph_is_sparser(seed: int) -> None:
    """Brute force: all 25 acyclic graphs, each column with the effects that bring most entries to zero."""
    b_lkk, _ = delayed(WorldConfig(latents=3, parents=1.0, instant_parents=0.7, seed=seed))
    deviation_lkk = np.full_like(b_lkk, 1e-3)
    found = sparsest_acyclic(b_lkk, deviation_lkk)
    columns = expecting(b_lkk, deviation_lkk, found)
    every = [(i, j) for i, j in itertools.product(range(3), repeat=2) if i != j]
    chosen = (edges for count in range(4) for edges in itertools.combinations(every, count))
    graphs = [edges for edges in chosen if nx.is_directed_acyclic_graph(nx.DiGraph(edges))]
    assert len(graphs) == 25
    least = min(sum(_least(columns, j, [i for i, to in edges if to == j]) for j in range(3)) for edges in graphs)
    assert cost(columns, found) <= least + 0.5  # smaller gains are not looked for


def _least(columns: Columns, j: int, children: list[int]) -> float:
    """Over effects of these children, or some of them, that bring as many entries of column j to zero as there are."""
    costs = [columns.cost(j, {})]
    rows = range(len(columns.column_rk))
    for count in range(1, len(children) + 1):
        for some, zeros in itertools.product(
            itertools.combinations(children, count), itertools.combinations(rows, count)
        ):
            gram = columns.column_rk[np.ix_(zeros, some)]
            if abs(np.linalg.det(gram)) > 1e-9:
                effects = np.linalg.solve(gram, columns.column_rk[list(zeros), j])
                costs.append(columns.cost(j, dict(zip(some, effects.tolist(), strict=True))))
    return min(costs)
