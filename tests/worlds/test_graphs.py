"""The true graphs have the structure that their configuration names."""

import numpy as np
import pytest
import scipy.sparse.csgraph

from tcr_jax import is_acyclic
from tcr_jax.worlds import PRESETS, WorldConfig
from tcr_jax.worlds.graphs import draw_graph


def graph(seed: int = 0, **values: object) -> tuple[list[np.ndarray], np.ndarray]:
    b, m = draw_graph(WorldConfig(**values), np.random.default_rng(seed))
    return [b_kk.toarray() for b_kk in b], m.toarray()


@pytest.mark.parametrize("kind", ["random", "a5", "a6", "hubs", "chain"])
def test_m_is_acyclic_and_its_concepts_are_numbered_at_random(kind: str) -> None:
    """No numbering gives the order of causes away."""
    _, m_kk = graph(graph=kind)
    assert is_acyclic(m_kk)
    assert np.triu(m_kk).any() and np.tril(m_kk).any()


@pytest.mark.parametrize("kind", ["random", "hubs"])
def test_the_mean_numbers_of_parents_are_those_asked_for(kind: str) -> None:
    """4 parents at each lag and 1.5 within the token, on average; every lag has a graph of its own."""
    b, m_kk = graph(graph=kind, latents=500, instant_parents=1.5)
    for b_kk in b:
        np.testing.assert_allclose((b_kk != 0).sum() / 500, 4, rtol=0.1)
    np.testing.assert_allclose((m_kk != 0).sum() / 500, 1.5, rtol=0.1)
    assert ((b[0] != 0) & (b[1] != 0)).sum() < 100


def test_sizes_are_within_their_bounds_and_signs_are_fair() -> None:
    """|B| in [0.2, 0.5] and |M| in [0.3, 0.8], before B is scaled."""
    b, m_kk = graph(latents=400)
    for matrix_kk, low, high in ((b[0], 0.2, 0.5), (m_kk, 0.3, 0.8)):
        sizes = matrix_kk[matrix_kk != 0]
        assert low <= np.abs(sizes).min() < low + 0.02 and high - 0.02 < np.abs(sizes).max() <= high
        assert 0.4 < (sizes > 0).mean() < 0.6


def test_own_past_is_a_parent_at_every_lag_where_asked_for() -> None:
    """And is counted among the mean number of parents."""
    b, _ = graph(latents=500, own_past=True, parents=3.0)
    for b_kk in b:
        assert np.diagonal(b_kk).all()
        np.testing.assert_allclose((b_kk != 0).sum() / 500, 3, rtol=0.1)


def test_a5_has_one_child_at_most() -> None:
    """Every column of M holds one non-zero at most, and on average as many as asked for."""
    for instant_parents in (1.0, 0.5):
        _, m_kk = graph(graph="a5", latents=400, instant_parents=instant_parents)
        assert (m_kk != 0).sum(axis=0).max() == 1
        np.testing.assert_allclose((m_kk != 0).sum() / 400, instant_parents, rtol=0.15)


def test_a6_is_block_diagonal() -> None:
    """No concept reaches another block, the last and shorter one included, and blocks are filled as asked for."""
    _, m_kk = graph(graph="a6", latents=403, block=8, instant_parents=2.0)
    _, block_k = scipy.sparse.csgraph.connected_components(m_kk, directed=False)
    assert 5 < np.bincount(block_k).max() <= 8
    np.testing.assert_allclose((m_kk != 0).sum() / 403, 2, rtol=0.1)


def test_hubs_have_many_more_children_than_other_concepts() -> None:
    """The largest out-degree is far above what a random graph of the same density has."""
    most = {kind: (graph(graph=kind, latents=1000)[0][0] != 0).sum(axis=0).max() for kind in ("hubs", "random")}
    assert most["hubs"] > 5 * most["random"]


def test_a_chain_is_one_path_through_all_concepts() -> None:
    """Powers of M vanish only at the number of concepts."""
    _, m_kk = graph(graph="chain", latents=12)
    assert np.linalg.matrix_power(m_kk != 0, 11).sum() == 1


def test_the_papers_generator() -> None:
    """M[i, i-1] = 0.5; B is part of an orthogonal matrix: its diagonal and a tenth of its strict upper triangle."""
    (b_kk,), m_kk = graph(**{**PRESETS["paper"], "latents": 200})
    np.testing.assert_array_equal(m_kk, np.eye(200, k=-1) / 2)
    assert np.diagonal(b_kk).all() and not np.tril(b_kk, -1).any()
    upper = b_kk[np.triu_indices(200, 1)]
    np.testing.assert_allclose((upper != 0).mean(), 0.1, rtol=0.05)
    np.testing.assert_allclose(np.square(upper[upper != 0]).mean(), 1 / 200, rtol=0.1)


def test_a_short_last_block_has_as_many_parents() -> None:
    """12 concepts are a block of 8 and one of 4; 4 are a block of 4."""
    for latents in (4, 12):
        edges = [np.count_nonzero(graph(seed, graph="a6", latents=latents)[1]) for seed in range(200)]
        np.testing.assert_allclose(np.mean(edges) / latents, 1, atol=0.1)
