"""What the parameters themselves show of the assumptions: conditioning, stability, and the shape of M."""

from typing import NamedTuple

import jax
import numpy as np
import scipy.sparse.csgraph

from tcr_jax.acyclicity import is_acyclic
from tcr_jax.ambiguity import Ambiguity
from tcr_jax.identify.alternatives import alternatives
from tcr_jax.params import Params
from tcr_jax.process import spectral_radius

DECOMPOSED = 2048
"""Concepts up to which the rank of B is found."""


class Structure(NamedTuple):
    """Of the dictionary and the process, as they stand."""

    activation: str
    latents: int
    width: int
    lags: int
    condition: float  # of the decoder; infinite where there are more concepts than dimensions
    last_rank: int | None  # of B at the last lag; None where there is none, or too large to tell
    radius: float
    delayed: int  # non-zeros of B
    instantaneous: int  # and of M
    acyclic: bool
    children: int  # most of a concept, in M
    block_c: np.ndarray  # concepts of each connected block of M, largest first
    ambiguity: Ambiguity | None  # None where M is cyclic or B too dense to choose an M
    within_errors: bool  # whether that counts an effect within its sampling errors as none


def structure(params: Params, b_error_lkk: np.ndarray | None = None) -> Structure:
    """On the host. With the standard errors of B, graphs are compared within them."""
    dictionary, process = params.dictionary, params.process
    k, d = dictionary.decoder_kd.shape
    b_lkk = np.zeros((0, k, k)) if process.b_lkk is None else np.asarray(process.b_lkk)
    m_kk = np.zeros((k, k)) if process.m_kk is None else np.asarray(process.m_kk)
    _, block_k = scipy.sparse.csgraph.connected_components(m_kk != 0, directed=False)
    return Structure(
        activation=dictionary.activation,
        latents=k,
        width=d,
        lags=len(b_lkk),
        condition=_condition(np.asarray(dictionary.decoder_kd, np.float64)),
        last_rank=int(np.linalg.matrix_rank(b_lkk[-1])) if len(b_lkk) and k <= DECOMPOSED else None,
        radius=float(jax.jit(spectral_radius)(process)),
        delayed=int(np.count_nonzero(b_lkk)),
        instantaneous=int(np.count_nonzero(m_kk)),
        acyclic=is_acyclic(m_kk),
        children=int((m_kk != 0).sum(axis=0).max()),
        block_c=np.sort(np.bincount(block_k))[::-1],
        ambiguity=alternatives(process, b_error_lkk),
        within_errors=b_error_lkk is not None,
    )


def _condition(decoder_kd: np.ndarray) -> float:
    if decoder_kd.shape[0] > decoder_kd.shape[1]:
        return np.inf
    eigenvalues = np.linalg.eigvalsh(decoder_kd @ decoder_kd.T)
    return float(np.sqrt(eigenvalues[-1] / max(eigenvalues[0], np.finfo(np.float64).tiny)))
