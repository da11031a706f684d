"""Which certified edges come first, and that a table is read as it was written."""

import numpy as np
import pytest

from tcr_jax.yardsticks.edge_table import CertifiedEdge, digest, edge_table, from_csv, to_csv, to_process
from tcr_jax.yardsticks.slopes import Slopes

K, LAGS = 6, 2
ROWS_KD = np.random.default_rng(1).normal(size=(K, 4))


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
    again = from_csv(to_csv(edges, ROWS_KD), "edges.csv", ROWS_KD)
    assert [edge[:3] for edge in again] == [edge[:3] for edge in edges]
    np.testing.assert_allclose([edge[3:] for edge in again], [edge[3:] for edge in edges], rtol=1e-5)
    assert all(isinstance(edge, CertifiedEdge) for edge in again)
    with pytest.raises(ValueError, match="edges.csv: no column predicted, t_second; give a table"):
        from_csv("source,target,lag,weight,t_first\n1,2,1,0.5,7\n", "edges.csv", ROWS_KD)


HEADER = "source,target,lag,weight,predicted,t_first,t_second"


def test_a_table_knows_its_run(found: tuple[np.ndarray, Slopes, Slopes]) -> None:
    """Other concepts refuse it; one without the column, or without all numbers where few are needed, is read."""
    text = to_csv(edge_table(*found, np.ones(K), np.ones(K)), ROWS_KD)
    with pytest.raises(ValueError, match=f"edges.csv, line 2: made with the concepts of run {digest(ROWS_KD)}, not"):
        from_csv(text, "edges.csv", ROWS_KD[::-1])
    assert from_csv(f"{HEADER}\n1,2,1,0.5,3,9,8\n", "edges.csv", ROWS_KD) == [CertifiedEdge(1, 2, 1, 0.5, 3, 9, 8)]
    (edge,) = from_csv("target,source,lag,weight\n1,2,1,0.5\n", "edges.csv", ROWS_KD, CertifiedEdge._fields[:4])
    assert edge[:4] == (2, 1, 1, 0.5) and np.isnan(edge[4:]).all()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,2,1,0.5,3", "not 7 cells"),
        ("1,2,1,x,3,9,9", "could not convert string to float: 'x'"),
        (f"1,{K},1,0.5,3,9,9", f"joins concepts 1 and {K} where the dictionary has {K}"),
        ("-1,2,1,0.5,3,9,9", "joins concepts -1 and 2"),
        ("1,2,-1,0.5,3,9,9", "lag=-1 is below 0"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str) -> None:
    """With the table, the number of the line, and the mend."""
    with pytest.raises(ValueError, match=f"edges.csv, line 3: {said}.*; give a table that experiments.certify writes"):
        from_csv(f"{HEADER}\n0,2,1,0.5,3,9,9\n{line}\n", "edges.csv", ROWS_KD)


def test_process(found: tuple[np.ndarray, Slopes, Slopes]) -> None:
    """Every weight in its place, lag 0 in M."""
    kept_lkk = found[0]
    delayed = to_process(edge_table(*found, np.ones(K), np.ones(K)), K)
    np.testing.assert_allclose(delayed.b_lkk, kept_lkk, rtol=1e-6)
    assert delayed.m_kk is None
    both = to_process(edge_table(*found, np.ones(K), np.ones(K), lag_of_first=0), K)
    np.testing.assert_allclose(both.m_kk, kept_lkk[0], rtol=1e-6)
    np.testing.assert_allclose(both.b_lkk, kept_lkk[1:], rtol=1e-6)
