"""Other graphs that explain the data as well as the one found: exactly, or within its sampling errors."""

import warnings

import numpy as np

from tcr_jax.acyclicity import is_acyclic
from tcr_jax.ambiguity import Ambiguity, ambiguity
from tcr_jax.params import Process

DENSE = 0.5
"""Share of non-zeros of B from which on sparsity cannot choose an M."""

CLEAR = 3.0
"""Standard errors beyond which an effect is told from zero."""


def alternatives(process: Process, b_error_lkk: np.ndarray | None = None) -> Ambiguity | None:
    """Every graph one edge of M away that is as sparse; None where M is cyclic, or B absent or too dense to choose.

    With the standard errors of B (zero where an effect is held at zero), an effect that another graph would bring
    within three of them of zero counts as none. The truth has exact zeros; an estimate of another graph that is as
    sparse has them up to its errors alone.
    """
    if process.b_lkk is None or not len(process.b_lkk):
        return None
    b_lkk = np.asarray(process.b_lkk)
    m_kk = np.zeros(b_lkk.shape[1:]) if process.m_kk is None else np.asarray(process.m_kk)
    if not is_acyclic(m_kk) or (len(m_kk) > 1 and np.count_nonzero(b_lkk) > DENSE * b_lkk.size):
        return None
    return ambiguity(list(b_lkk), m_kk, None if b_error_lkk is None else list(CLEAR * errors_of_all(b_error_lkk)))


def in_doubt(found: Ambiguity | None, latents: int) -> np.ndarray:
    """[k]: whether another graph gives the concept another meaning, and so other effects from it and other units."""
    doubt_k = np.full(latents, found is None)
    for move in found.moves if found is not None else ():
        doubt_k[[move.source, move.target] if move.kind == "reverse" else [move.source]] = True
    return doubt_k


def errors_of_all(error_lkk: np.ndarray) -> np.ndarray:
    """Standard errors of the entries that were held at zero, too: a factor of the target's times one of the source's.

    Both are medians over the effects that were estimated: an error grows with the target's innovations, and falls with
    what of the source no other concept tells.
    """
    known_lkk = np.asarray(error_lkk) > 0
    log_lkk = np.where(known_lkk, np.log(np.where(known_lkk, error_lkk, 1)), np.nan)
    typical = np.nanmedian(log_lkk) if known_lkk.any() else -np.inf
    target_k, source_k = np.full(log_lkk.shape[1], typical), np.zeros(log_lkk.shape[2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a concept without effects has none to be the median of
        for _ in range(3 if known_lkk.any() else 0):
            source_k = np.nan_to_num(np.nanmedian(log_lkk - target_k[:, None], axis=(0, 1)))
            target_k = np.nan_to_num(np.nanmedian(log_lkk - source_k, axis=(0, 2)), nan=typical)
    return np.where(known_lkk, error_lkk, np.exp(target_k[:, None] + source_k))
