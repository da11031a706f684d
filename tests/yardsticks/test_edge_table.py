"""Which certified edges come first, and that a table is read as it was written."""

import numpy as np
import pytest

from tcr_jax.yardsticks.edge_table import CertifiedEdge, edge_table, from_csv, to_csv, to_process
from tcr_jax.yardsticks.slopes import Slopes

K, LAGS = 6, 2


@pytest.fixture
def found() -> tuple[np.ndarray, Slopes, Slopes]:
    """Effects at a third of all places, and t of both halves."""
    rng = np.random.default_rng(0)
    kept_lkk = rng.normal(size=(LAGS, K, K)) * (rng.random((LAGS, K, K)) < 0.3)
    first, second = (Slopes(kept_lkk, rng.uniform(5, 30, kept_lkk.shape) * np.sign(kept_lkk)) for _ in range(2))
    return kept_lkk, first, second


def test_rows(found: tuple[np.ndarray, Slopes, Slopes]) -> None:
    """A row an effect; its prediction is what the source's usual firing adds, in the target's standard deviations."""
    kept_lkk, first, second = found
    std_k, strength_k = np.arange(1.0, K + 1), np.linspace(2, 9, K)
    edges = edge_table(kept_lkk, first, second, std_k, strength_k)
    assert len(edges) == len(set(edges)) == np.count_nonzero(kept_lkk)
    for edge in edges:
        place = edge.lag - 1, edge.target, edge.source
        assert edge.weight == kept_lkk[place]
        assert edge.predicted == pytest.approx(abs(edge.weight) * strength_k[edge.source] / std_k[edge.target])
        assert (edge.t_first, edge.t_second) == (first.t_lkk[place], second.t_lkk[place])


def test_order(found: tuple[np.ndarray, Slopes, Slopes]) -> None:
    """Clear in both halves first, though another's prediction be larger; of each part the largest prediction."""
    edges = edge_table(*found, np.ones(K), np.ones(K), first_t=12)
    clear = [min(abs(edge.t_first), abs(edge.t_second)) > 12 for edge in edges]
    assert clear == sorted(clear, reverse=True) and 0 < sum(clear) < len(clear)
    for part in (True, False):
        predicted = [edge.predicted for edge, is_clear in zip(edges, clear, strict=True) if is_clear == part]
        assert predicted == sorted(predicted, reverse=True)
    assert max(edge.predicted for edge in edges[sum(clear) :]) > edges[sum(clear) - 1].predicted


def test_lag_of_the_first_matrix(found: tuple[np.ndarray, Slopes, Slopes]) -> None:
    """Matrices of effects within the token and after it."""
    assert {edge.lag for edge in edge_table(*found, np.ones(K), np.ones(K), lag_of_first=0)} == {0, 1}


def test_csv(found: tuple[np.ndarray, Slopes, Slopes]) -> None:
    """Read as written, to six digits; a foreign table is named with what it lacks."""
    edges = edge_table(*found, np.ones(K), np.ones(K))
    again = from_csv(to_csv(edges), "edges.csv")
    assert [edge[:3] for edge in again] == [edge[:3] for edge in edges]
    np.testing.assert_allclose([edge[3:] for edge in again], [edge[3:] for edge in edges], rtol=1e-5)
    assert all(isinstance(edge, CertifiedEdge) for edge in again)
    with pytest.raises(ValueError, match="edges.csv: no column predicted, t_second; give a table"):
        from_csv("source,target,lag,weight,t_first\n1,2,1,0.5,7\n", "edges.csv")


def test_process(found: tuple[np.ndarray, Slopes, Slopes]) -> None:
    """Every weight in its place, lag 0 in M; a table of a larger dictionary is refused by the edge's number."""
    kept_lkk = found[0]
    delayed = to_process(edge_table(*found, np.ones(K), np.ones(K)), K)
    np.testing.assert_allclose(delayed.b_lkk, kept_lkk, rtol=1e-6)
    assert delayed.m_kk is None
    both = to_process(edge_table(*found, np.ones(K), np.ones(K), lag_of_first=0), K)
    np.testing.assert_allclose(both.m_kk, kept_lkk[0], rtol=1e-6)
    np.testing.assert_allclose(both.b_lkk, kept_lkk[1:], rtol=1e-6)
    edges = [CertifiedEdge(0, 1, 1, 0.5, 1.0, 6.0, 7.0), CertifiedEdge(2, K, 1, 0.5, 1.0, 6.0, 7.0)]
    with pytest.raises(ValueError, match=f"edge 2 joins concepts 2 and {K} and the dictionary has {K}: give"):
        to_process(edges, K)
