"""Planted relations: how far the coefficient of a pair that was planted in text stands out from all other pairs'.

A pair is two labels of tokens, of which one was made to follow the other. Its concepts are found by the labels alone,
on training documents; the process is not asked. Coefficients are standardised: |W_ij| std(z_j) / std(z_i).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from tcr_jax.params import Process


class Pair(NamedTuple):
    """The concepts that stand for the two labels of a planted pair."""

    source: int
    target: int


class Recovery(NamedTuple):
    """One planted pair among all pairs of different concepts."""

    coefficient: float  # the pair's own
    score: float  # over the root mean square of all other pairs' coefficients
    auroc: float  # share of the other pairs with a smaller coefficient, ties counting half
    rank: int  # 1 + other pairs with a larger one
    rank_of_target: int  # 1 + other sources of the same target with a larger one


def label_correlations(z_nk: np.ndarray, label_nl: np.ndarray) -> np.ndarray:
    """Correlation of each concept with each label over tokens, [k, l]; zero for a concept that never varies.

    Not the AUROC: that is high already for a concept which fires on ten times as many tokens as carry the label.

    Args:
      z_nk: codes of training tokens.
      label_nl: whether each token carries each label.

    Raises:
      ValueError: no token, or every token, carries a label.
    """
    z_nk, label_nl = np.asarray(z_nk, np.float32), np.asarray(label_nl, np.float32)
    share_l, tokens = label_nl.mean(axis=0, dtype=np.float64), len(label_nl)
    for label, share in enumerate(share_l):
        if not 0 < share < 1:
            raise ValueError(
                f"label {label}: {round(share * tokens)} of {tokens} tokens carry it; give text with it and without it"
            )
    covariance_kl = z_nk.T @ (label_nl - np.float32(share_l)) / tokens
    std_k = z_nk.std(axis=0, dtype=np.float64)
    inverse_k = np.divide(1, std_k, out=np.zeros(len(std_k)), where=std_k > 0)
    return covariance_kl * inverse_k[:, None] / np.sqrt(share_l * (1 - share_l))


def label_concepts(correlation_kl: np.ndarray) -> np.ndarray:
    """A concept for each label, no two the same: those whose correlations, taken without sign, have the largest sum."""
    label_l, concept_l = linear_sum_assignment(np.abs(correlation_kl).T, maximize=True)
    return concept_l[np.argsort(label_l)]


def delayed_coefficients(process: Process, std_k: np.ndarray) -> np.ndarray:
    """max over lags of |B_l[i, j]| std_j / std_i, [target, source]: the lag is not told."""
    if process.b_lkk is None:
        raise ValueError("the process has no delayed effects; score one that was fitted with lags")
    return _standardised(np.abs(np.asarray(process.b_lkk, np.float64)).max(axis=0), std_k)


def instantaneous_coefficients(process: Process, std_k: np.ndarray) -> np.ndarray:
    """The larger of |M[i, j]| and |M[j, i]|, standardised: the direction is not told. Symmetric."""
    if process.m_kk is None:
        raise ValueError("the process has no instantaneous effects; score one that was fitted with M")
    size_kk = _standardised(np.abs(np.asarray(process.m_kk, np.float64)), std_k)
    return np.maximum(size_kk, size_kk.T)


def recover(size_kk: np.ndarray, pair: Pair, planted: Iterable[Pair] = ()) -> Recovery:
    """Where a planted pair stands among all pairs of different concepts.

        score = c_planted / RMS(c of all other pairs)

    The published score's formula (Song et al. 2025) is not public; this one is ours. Text is full of relations that
    nobody planted, and an estimate with many exact zeros has a smaller RMS: read rank and AUROC beside it.

    Args:
      size_kk: coefficients without sign, [target, source].
      pair: the concepts found for its labels.
      planted: other pairs that were planted in the same text; they count among no others.

    Raises:
      ValueError: both labels have the same concept.
    """
    source, target = pair
    if source == target:
        raise ValueError(f"source and target are both concept {source}; label_concepts finds different ones")
    others_kk = ~np.eye(len(size_kk), dtype=bool)
    for other in (pair, *planted):
        others_kk[other.target, other.source] = False
    coefficient, others = size_kk[target, source], size_kk[others_kk]
    larger, equal = int((others > coefficient).sum()), int((others == coefficient).sum())
    spread = np.sqrt((others**2).mean())
    return Recovery(
        coefficient=float(coefficient),
        score=float(coefficient / spread) if spread else float("nan"),
        auroc=1 - (larger + equal / 2) / len(others),
        rank=1 + larger,
        rank_of_target=1 + int((size_kk[target][others_kk[target]] > coefficient).sum()),
    )


def _standardised(size_kk: np.ndarray, std_k: np.ndarray) -> np.ndarray:
    """Times the source's standard deviation over the target's; zero where the target never varies."""
    inverse_k = np.divide(1, std_k, out=np.zeros(len(std_k)), where=np.asarray(std_k) > 0)
    return size_kk * np.asarray(std_k) * inverse_k[:, None]
