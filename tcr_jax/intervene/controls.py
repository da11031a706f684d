"""Edges to compare with: pairs of concepts that occur together as an edge's do, but that the model did not select."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tcr_jax.intervene.edges import Edge


class Cooccurrence(NamedTuple):
    """Of some sources `n` at t - l and all targets at t, over pairs of kept positions of one passage."""

    source_n: np.ndarray
    rate_k: np.ndarray  # share of positions at which each concept fires
    lift_lkn: np.ndarray  # P(both fire) / (P(target fires) P(source fires)); 0 where they never do
    slope_lkn: np.ndarray  # regression of z_target(t) on z_source(t - l) alone


def cooccurrence(
    z_tk: Sequence[np.ndarray], kept_t: Sequence[np.ndarray], sources: Sequence[int], lags: int
) -> Cooccurrence:
    """Counts what happens together, `lags` tokens back at most.

    Args:
      z_tk: concepts of each passage.
      kept_t: which of its positions count.
      sources: concepts whose columns are wanted.
      lags: the longest lag.
    """
    source_n, k = np.unique(sources), z_tk[0].shape[1]
    shape = (lags, k, len(source_n))
    joint_lkn, cross_lkn = np.zeros(shape), np.zeros(shape)
    pairs_l, sum_lk, fires_lk = np.zeros(lags), np.zeros((lags, k)), np.zeros((lags, k))
    sum_ln, square_ln, fires_ln = (np.zeros((lags, len(source_n))) for _ in range(3))
    positions, rate_k = 0, np.zeros(k)
    for z, kept in zip(z_tk, kept_t, strict=True):
        positions, rate_k = positions + kept.sum(), rate_k + (z[kept] != 0).sum(0)
        for lag in range(1, min(lags, len(z) - 1) + 1):
            both = kept[lag:] & kept[:-lag]
            target_tk, source_tn = z[lag:][both], z[:-lag][both][:, source_n]
            joint_lkn[lag - 1] += (target_tk != 0).T.astype(np.float32) @ (source_tn != 0).astype(np.float32)
            cross_lkn[lag - 1] += target_tk.T @ source_tn
            pairs_l[lag - 1] += both.sum()
            sum_lk[lag - 1] += target_tk.sum(0)
            fires_lk[lag - 1] += (target_tk != 0).sum(0)
            sum_ln[lag - 1] += source_tn.sum(0)
            square_ln[lag - 1] += (source_tn**2).sum(0)
            fires_ln[lag - 1] += (source_tn != 0).sum(0)
    count_l11 = np.maximum(pairs_l, 1)[:, None, None]
    expected_lkn = fires_lk[:, :, None] * fires_ln[:, None] / count_l11
    covariance_lkn = cross_lkn / count_l11 - sum_lk[:, :, None] * sum_ln[:, None] / count_l11**2
    variance_l1n = (square_ln / count_l11[..., 0] - (sum_ln / count_l11[..., 0]) ** 2)[:, None]
    return Cooccurrence(
        source_n,
        rate_k / positions,
        np.divide(joint_lkn, expected_lkn, out=np.zeros(shape), where=expected_lkn > 0),
        np.divide(covariance_lkn, variance_l1n, out=np.zeros(shape), where=variance_l1n > 0),
    )


def matched(edges: Sequence[Edge], weight_lkk: np.ndarray, counts: Cooccurrence) -> list[Edge]:
    """For every edge, another target of the same source and lag that the model did not select (its weight is zero).

    Its lift and firing rate are as near to the edge's as can be (least sum of |log ratio|), and each is used once. The
    effect that is claimed for it is what co-occurrence alone would claim: the slope.

    Raises:
      ValueError: the weights have no zeros to choose among, for any edge or for one.
    """
    free_lkn = _free(weight_lkk, counts)
    rate_k = np.log(np.maximum(counts.rate_k, 1e-9))
    controls = []
    for edge in edges:
        at, n = edge.lag - 1, int(np.searchsorted(counts.source_n, edge.source))
        lift_k = np.log(np.maximum(counts.lift_lkn[at, :, n], 1e-2))
        distance_k = np.abs(lift_k - lift_k[edge.target]) + np.abs(rate_k - rate_k[edge.target])
        controls.append(_take(edge, free_lkn[at, :, n], distance_k, counts))
    return controls


def at_random(edges: Sequence[Edge], weight_lkk: np.ndarray, counts: Cooccurrence, seed: int = 0) -> list[Edge]:
    """As `matched`, but any target that the model did not select."""
    free_lkn, random = _free(weight_lkk, counts), np.random.default_rng(seed)
    controls = []
    for edge in edges:
        n = int(np.searchsorted(counts.source_n, edge.source))
        controls.append(_take(edge, free_lkn[edge.lag - 1, :, n], random.random(len(counts.rate_k)), counts))
    return controls


def _free(weight_lkk: np.ndarray, counts: Cooccurrence) -> np.ndarray:
    """Which pairs may serve as controls: weight zero, not a concept with itself, and a target that fires."""
    free_lkn = (weight_lkk[:, :, counts.source_n] == 0) & (counts.rate_k > 0)[:, None]
    free_lkn[:, counts.source_n, np.arange(len(counts.source_n))] = False
    if not free_lkn.any():
        raise ValueError("every weight is selected, so nothing is left to compare with; set the weak ones to zero")
    return free_lkn


def _take(edge: Edge, free_k: np.ndarray, distance_k: np.ndarray, counts: Cooccurrence) -> Edge:
    """The nearest free target, which is free no longer."""
    if not free_k.any():
        raise ValueError(
            f"edge {edge.source} -> {edge.target} at lag {edge.lag} has no control: every target that fires is "
            "selected or taken already; test fewer edges, or set the weak weights to zero"
        )
    target = int(np.argmin(np.where(free_k, distance_k, np.inf)))
    free_k[target] = False
    n = int(np.searchsorted(counts.source_n, edge.source))
    return Edge(edge.source, target, edge.lag, float(counts.slope_lkn[edge.lag - 1, target, n]))
