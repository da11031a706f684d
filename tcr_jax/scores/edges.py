"""Which edges were found: a found matrix of effects against the true one, in the same numbering and units."""

from typing import NamedTuple

import numpy as np

from tcr_jax.typing import Array


class EdgeScores(NamedTuple):
    """Scores of a matrix as a graph and as numbers. A share of nothing is 1: no edge found means none is wrong."""

    precision: float  # share of the found edges that are true
    recall: float  # share of the true edges that were found
    f1: float  # harmonic mean of the two
    auroc: float  # chance that a true edge has a greater |effect| than a pair without edge, ties counted half
    shd_1: float  # structural Hamming distance: edges to add, remove or reverse
    shd_2: float  # the same with a reversal as one removal and one addition
    relative_error: float  # Frobenius norm of (found - true) / Frobenius norm of true


def edges(true: Array | np.ndarray, found: Array | np.ndarray) -> EdgeScores:
    """Compares effects entry by entry; an edge is an entry that is not exactly zero.

    Args:
      true: M [k, k] or B [l, k, k].
      found: the same, aligned (see `align`); of B, the lags that one of the two lacks count as zeros.

    Returns:
      `EdgeScores`. M's diagonal holds no edges, and counts in `relative_error` only. B's does, as every concept's
      effect on its own future; delayed edges have one direction only, so `shd_1` and `shd_2` are the same for B.
      `auroc` is NaN where no edge or no pair without edge is true; `relative_error` is infinite where only the truth
      is zero.

    Raises:
      ValueError: the shapes do not fit, or an effect is not finite.

    >>> import numpy as np
    >>> true_kk = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    >>> scores = edges(true_kk, np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.5, 0.0]]))
    >>> scores.f1, scores.shd_1, scores.shd_2
    (0.5, 1.0, 2.0)
    """
    true, found = np.asarray(true), np.asarray(found)
    if true.shape[-2:] != found.shape[-2:] or true.ndim != found.ndim or true.ndim not in (2, 3):
        raise ValueError(
            f"true of shape {true.shape} and found of shape {found.shape} must both be [k, k] or both [l, k, k] with "
            "the same k: align the found process first"
        )
    for name, matrix in (("true", true), ("found", found)):
        if not np.isfinite(matrix).all():
            index = np.argwhere(~np.isfinite(matrix))[0].tolist()
            raise ValueError(f"{name}{index} is not finite: an effect must be a number; was the estimator unstable?")
    if true.ndim == 3:
        lags = max(len(true), len(found))
        true, found = _with_lags(true, lags), _with_lags(found, lags)
    scored = np.ones(true.shape, bool)
    if true.ndim == 2:
        np.fill_diagonal(scored, False)
    true_edge, found_edge = (true != 0) & scored, (found != 0) & scored
    hits, extra, missing = (
        int(np.count_nonzero(edge))
        for edge in (true_edge & found_edge, found_edge & ~true_edge, true_edge & ~found_edge)
    )
    reversals = 0 if true.ndim == 3 else _reversals(true_edge, found_edge)
    return EdgeScores(
        precision=_share(hits, hits + extra),
        recall=_share(hits, hits + missing),
        f1=_share(2 * hits, 2 * hits + extra + missing),
        auroc=_auroc(
            np.abs(found[true_edge]), np.abs(found[found_edge & ~true_edge]), int(np.count_nonzero(scored & ~true_edge))
        ),
        shd_1=float(extra + missing - reversals),
        shd_2=float(extra + missing),
        relative_error=_relative_error(true, found),
    )


def _with_lags(b_lkk: np.ndarray, lags: int) -> np.ndarray:
    return np.pad(b_lkk, [(0, lags - len(b_lkk)), (0, 0), (0, 0)]) if len(b_lkk) < lags else b_lkk


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _reversals(true_edge_kk: np.ndarray, found_edge_kk: np.ndarray) -> int:
    """Pairs joined by one edge in both graphs, in opposite directions."""
    one_way_kk, found_one_way_kk = (edge_kk & ~edge_kk.T for edge_kk in (true_edge_kk, found_edge_kk))
    return int(np.count_nonzero(one_way_kk & found_one_way_kk.T))


def _auroc(edge: np.ndarray, extra: np.ndarray, rivals: int) -> float:
    """Mann-Whitney's statistic of |effects| at true edges against `rivals` others, all zero but for `extra`."""
    if not len(edge) or not rivals:
        return float("nan")
    extra = np.sort(extra)
    below, up_to = (np.searchsorted(extra, edge, side) for side in ("left", "right"))
    zeros = rivals - len(extra)
    beaten = (below + up_to) / 2 + np.where(edge > 0, zeros, zeros / 2)
    return float(beaten.mean() / rivals)


def _relative_error(true: np.ndarray, found: np.ndarray) -> float:
    error, size = (float(np.linalg.norm(matrix)) for matrix in (found - true, true))
    if error == 0:
        return 0.0
    return error / size if size else float("inf")
