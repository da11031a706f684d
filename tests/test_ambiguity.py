"""Graphs one change from the truth, against brute force."""

import numpy as np
import pytest

from tcr_jax import is_acyclic
from tcr_jax.ambiguity import NEVER, Move, ambiguity
from tcr_jax.worlds import World, WorldConfig, make_world
from tcr_jax.worlds import ambiguity as ambiguity_of_world


def cost(reduced: np.ndarray, m_kk: np.ndarray) -> int:
    """|B|_0 + |M|_0 of the graph that has this M."""
    return int((np.abs(reduced @ (np.eye(len(m_kk)) - m_kk)) > 1e-9).sum() + (m_kk != 0).sum())


def smallest_gap(world: World) -> int:
    """Over every acyclic M with one edge more, less, resized, moved or reversed, at every size that zeroes an entry."""
    m_kk, k = world.m.toarray(), world.config.latents
    reduced = np.vstack([b_kk.toarray() for b_kk in world.b]) @ np.linalg.inv(np.eye(k) - m_kk)
    starts = [(m_kk, None)]
    for target, source in zip(*np.nonzero(m_kk), strict=True):
        without_kk = m_kk.copy()
        without_kk[target, source] = 0
        starts.append((without_kk, (target, source)))
    best = NEVER
    for start_kk, removed in starts:
        if removed is not None:
            best = min(best, cost(reduced, start_kk))
        for target in range(k):
            for source in range(k):
                if target == source or start_kk[target, source]:
                    continue
                reversal = removed == (source, target)
                if removed is not None and source != removed[1] and not reversal:
                    continue
                column = (reduced @ (np.eye(k) - start_kk))[:, source]
                for size in {1.2345, *(column[reduced[:, target] != 0] / reduced[reduced[:, target] != 0, target])}:
                    changed_kk = start_kk.copy()
                    changed_kk[target, source] = size
                    if abs(size) > 1e-9 and is_acyclic(changed_kk) and np.abs(changed_kk - m_kk).max() > 1e-9:
                        best = min(best, cost(reduced, changed_kk))
    return best - cost(reduced, m_kk)


@pytest.mark.parametrize("seed", range(12))
def test_the_smallest_gap_is_that_of_brute_force(seed: int) -> None:
    """Sparse and dense worlds of few concepts, ambiguous ones among them."""
    config = WorldConfig(
        latents=5, lags=1 + seed % 2, parents=1.0 + seed % 3, instant_parents=0.5 + seed % 2, seed=seed
    )
    world = make_world(config)
    assert ambiguity_of_world(world).smallest_gap == smallest_gap(world)


def test_an_edge_into_a_concept_without_effects_is_ambiguous() -> None:
    """Nothing in B' tells of it, so that the graph without it is sparser by one; and it is named."""
    m_kk, b_kk = np.zeros((3, 3)), 0.5 * np.eye(3)
    m_kk[2, 0], b_kk[2, 2] = 0.5, 0
    found = ambiguity([b_kk], m_kk)
    assert Move("remove", source=0, target=2, gap=-1) in found.moves
    assert found.smallest_gap == -1 and "(1 with fewer)" in found.in_words()


def test_no_reversal_closes_a_cycle() -> None:
    """Without delayed effects every DAG of as many edges is as sparse; of 0 -> 1 -> 2 and 0 -> 2 the last must stay."""
    m_kk = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0]])
    found = ambiguity([np.zeros((3, 3))], m_kk)
    assert {(move.source, move.target) for move in found.moves if move.kind == "reverse"} == {(0, 1), (1, 2)}


@pytest.mark.parametrize("m_kk", [np.array([[0, 1], [1, 0]]), np.eye(2)])
def test_a_cycle_is_refused(m_kk: np.ndarray) -> None:
    """The series of total effects would have no end."""
    with pytest.raises(ValueError, match="cycle"):
        ambiguity([np.eye(2)], m_kk)


@pytest.mark.parametrize(("brought", "gaps"), [(0.02, []), (0.005, [0])])
def test_what_an_edge_brings_in_counts_at_its_size(brought: float, gaps: list[int]) -> None:
    """To cancel 1 by 0.2 the edge has size 5: five times what it brings in must lie within the tolerance of 0.03."""
    found = ambiguity([np.array([[1, 0.2], [0, brought]])], np.zeros((2, 2)), [np.full((2, 2), 0.03)])
    assert [move.gap for move in found.moves if (move.source, move.target) == (0, 1)] == gaps


def test_no_new_edge_closes_a_cycle_where_paths_cancel() -> None:
    """0 -> 1 -> 3 and 0 -> 2 -> 3 cancel, so that 3's total effect from 0 is zero; 0 is above 3 all the same."""
    m_kk = np.zeros((4, 4))
    m_kk[1, 0] = m_kk[3, 1] = m_kk[2, 0] = 1
    m_kk[3, 2] = -1
    rng = np.random.default_rng(0)
    for move in ambiguity([rng.choice([0, 0.5], (4, 4))], m_kk).moves:
        if move.kind == "add":
            changed_kk = m_kk.copy()
            changed_kk[move.target, move.source] = 1
            assert is_acyclic(changed_kk)


def test_of_one_concept_there_is_one_graph() -> None:
    """And no gap to another."""
    found = ambiguity([np.array([[0.5]])], np.zeros((1, 1)))
    assert found.moves == () and found.smallest_gap is None and "no other graph" in found.in_words()
