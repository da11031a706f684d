"""Laws of the edges that are compared with."""

import numpy as np
import pytest

from tcr_jax.intervene.controls import at_random, cooccurrence, matched
from tcr_jax.intervene.edges import Edge

K, LAGS = 12, 2


@pytest.fixture(scope="module")
def text() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Passages of several lengths in which 1 follows 0 one token later, and some positions are not kept."""
    random = np.random.default_rng(0)
    z_tk, kept_t = [], []
    for length in (1, 3, 40, 60):
        z = (random.random((length, K)) * (random.random((length, K)) < 0.3)).astype(np.float32)
        z[1:, 1] = 2 * z[:-1, 0]
        z_tk.append(z)
        kept_t.append(random.random(length) < 0.8)
    return z_tk, kept_t


def test_counts_are_those_of_pairs_within_passages(text: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Brute force over pairs of positions, both kept and of one passage."""
    counts = cooccurrence(*text, sources=[5, 0], lags=LAGS)
    assert counts.source_n.tolist() == [0, 5]
    for lag in (1, 2):
        pairs = np.array(
            [
                (z[t], z[t - lag])
                for z, kept in zip(*text, strict=True)
                for t in range(lag, len(z))
                if kept[t] and kept[t - lag]
            ]
        )
        target_tk, source_t = pairs[:, 0], pairs[:, 1, 5]
        fires_tk = (target_tk != 0) & (source_t != 0)[:, None]
        lift_k = fires_tk.mean(0) / ((target_tk != 0).mean(0) * (source_t != 0).mean())
        np.testing.assert_allclose(counts.lift_lkn[lag - 1, :, 1], lift_k, rtol=1e-5)
        slope = np.polyfit(source_t, target_tk[:, 3], 1)[0]
        assert counts.slope_lkn[lag - 1, 3, 1] == pytest.approx(slope, abs=1e-5)
    kept_nk = np.concatenate([z[kept] for z, kept in zip(*text, strict=True)])
    np.testing.assert_allclose(counts.rate_k, (kept_nk != 0).mean(0))
    assert counts.slope_lkn[0, 1, 0] == pytest.approx(2, abs=1e-5)


def test_controls_are_unselected_and_used_once(text: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Same source and lag; a target of weight zero, never the source, never twice; the effect is the slope."""
    counts = cooccurrence(*text, sources=[0, 5], lags=LAGS)
    weight_lkk = np.zeros((LAGS, K, K))
    weight_lkk[0, [1, 2, 3], 0] = 1
    edges = [Edge(0, target, 1, 1.0) for target in (1, 2, 3)]
    for controls in (matched(edges, weight_lkk, counts), at_random(edges, weight_lkk, counts)):
        assert [(edge.source, edge.lag) for edge in controls] == [(0, 1)] * 3
        targets = [edge.target for edge in controls]
        assert len(set(targets)) == 3 and not {0, 1, 2, 3} & set(targets)
        for edge in controls:
            assert edge.effect == pytest.approx(counts.slope_lkn[0, edge.target, 0])


def test_the_nearest_in_cooccurrence_is_taken(text: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Among unselected targets the one whose lift and rate are the edge's own."""
    z_tk = [z.copy() for z in text[0]]
    for z in z_tk:
        z[:, 9] = 3 * z[:, 1]  # fires whenever 1 does
    counts = cooccurrence(z_tk, text[1], sources=[0], lags=LAGS)
    weight_lkk = np.zeros((LAGS, K, K))
    weight_lkk[0, 1, 0] = 1
    assert matched([Edge(0, 1, 1, 1.0)], weight_lkk, counts)[0].target == 9


def test_a_dense_process_leaves_nothing_to_compare_with(text: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Where every weight is selected, the mend is named."""
    counts = cooccurrence(*text, sources=[0], lags=LAGS)
    with pytest.raises(ValueError, match="set the weak ones to zero"):
        matched([Edge(0, 1, 1, 1.0)], np.ones((LAGS, K, K)), counts)


def test_an_edge_without_a_control_is_named(text: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Of one source and lag all but one target are selected: the second edge finds none, and is no control itself."""
    counts = cooccurrence(*text, sources=[0], lags=LAGS)
    weight_lkk = np.zeros((LAGS, K, K))
    weight_lkk[0, 1:-1, 0] = 1
    edges = [Edge(0, 1, 1, 1.0), Edge(0, 2, 1, 1.0)]
    assert matched(edges[:1], weight_lkk, counts)[0].target == K - 1
    for choose in (matched, at_random):
        with pytest.raises(ValueError, match="edge 0 -> 2 at lag 1 has no control: .* test fewer edges"):
            choose(edges, weight_lkk, counts)
