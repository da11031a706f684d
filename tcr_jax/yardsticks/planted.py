"""Planted relations: how far the coefficient of a pair that was planted in text stands out from all other pairs'.

A pair is two labels of tokens, of which one was made to follow the other. Its concepts are found by the labels alone,
on training documents; the process is not asked. Coefficients are standardised: |W_ij| std(z_j) / std(z_i).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from tcr_jax.params import Process


class Found(NamedTuple):
    """The concept that tells a label best."""

    concept: int
    auroc: float  # of its z, or of -z


class Recovery(NamedTuple):
    """One planted pair among all pairs of different concepts."""

    coefficient: float  # the pair's own
    score: float  # over the root mean square of all other pairs' coefficients
    auroc: float  # share of the other pairs with a smaller coefficient, ties counting half
    rank: int  # 1 + other pairs with a larger one


def label_concepts(
    z_nk: np.ndarray, label_n: np.ndarray, taken: Sequence[int] = (), concepts: Sequence[int] | None = None
) -> Found:
    """The concept of highest AUROC for a label of tokens `n`; a concept that fires negatively counts as well.

    Args:
      z_nk: codes of training tokens.
      label_n: whether each token carries the label.
      taken: concepts that stand for another label already.
      concepts: the only ones looked at; all by default.

    Raises:
      ValueError: no token, or every token, carries the label.
    """
    label_n = np.asarray(label_n, bool)
    positives, negatives = int(label_n.sum()), int((~label_n).sum())
    if not positives or not negatives:
        raise ValueError(f"{positives} of {len(label_n)} tokens carry the label; give text with it and without it")
    candidates = [k for k in (range(z_nk.shape[1]) if concepts is None else concepts) if k not in taken]
    auroc = np.array(
        [
            (rankdata(z_nk[:, k])[label_n].sum() - positives * (positives + 1) / 2) / (positives * negatives)
            for k in candidates
        ]
    )
    best = int(np.argmax(np.maximum(auroc, 1 - auroc)))
    return Found(candidates[best], float(max(auroc[best], 1 - auroc[best])))


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


def recover(size_kk: np.ndarray, source: int, target: int) -> Recovery:
    """Where the planted pair stands among all pairs of different concepts.

        score = c_planted / RMS(c of all other pairs)

    The published score's formula (Song et al. 2025) is not public; this one is ours. Text is full of relations that
    nobody planted, and an estimate with many exact zeros has a smaller RMS: read rank and AUROC beside it.

    Args:
      size_kk: coefficients without sign, [target, source].
      source: the concept found for the first label.
      target: the concept found for the second one.

    Raises:
      ValueError: both labels have the same concept.
    """
    if source == target:
        raise ValueError(f"source and target are both concept {source}; find the second with taken=({source},)")
    others_kk = ~np.eye(len(size_kk), dtype=bool)
    others_kk[target, source] = False
    planted, others = size_kk[target, source], size_kk[others_kk]
    larger, equal = int((others > planted).sum()), int((others == planted).sum())
    spread = np.sqrt((others**2).mean())
    return Recovery(
        coefficient=float(planted),
        score=float(planted / spread) if spread else float("nan"),
        auroc=1 - (larger + equal / 2) / len(others),
        rank=1 + larger,
    )


def _standardised(size_kk: np.ndarray, std_k: np.ndarray) -> np.ndarray:
    """Times the source's standard deviation over the target's; zero where the target never varies."""
    inverse_k = np.divide(1, std_k, out=np.zeros(len(std_k)), where=np.asarray(std_k) > 0)
    return size_kk * np.asarray(std_k) * inverse_k[:, None]
