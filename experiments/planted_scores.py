"""How far planted relations stand out of a process estimated on codes of the text: concepts, estimates, scores."""

from collections.abc import Sequence
from functools import reduce

import jax.numpy as jnp
import numpy as np

from experiments.planted_text import TEMPLATES, carriers
from tcr_jax.closed_form import CodeMoments, code_moments, fit_moments, fit_support, merge
from tcr_jax.closed_form.fit import present_order
from tcr_jax.closed_form.gram import lag_table
from tcr_jax.closed_form.parents import forward_selection
from tcr_jax.params import Process
from tcr_jax.typing import DROPPED, Array
from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.planted import (
    Pair,
    Recovery,
    delayed_coefficients,
    instantaneous_coefficients,
    label_correlations,
    recover,
)

SUPPORTED = 5
"""Standard errors that are taken off an effect's size to certify it."""


def labels(codes: CodeTable, pieces: Sequence[str]) -> np.ndarray:
    """Whether each position carries each label, source and target of every template in turn: [b, t, l]."""
    label_btl = np.zeros((*codes.token_bt.shape, 2 * len(TEMPLATES)), bool)
    for token_t, label_tl in zip(codes.token_bt, label_btl, strict=True):
        text = [pieces[token] for token in token_t]
        label_tl[:] = np.array([carriers(text, label) for t in TEMPLATES for label in (t.source, t.target)]).T
    return label_btl & (codes.document_bt >= 0)[..., None]


def likeness(codes: CodeTable, label_btl: np.ndarray) -> np.ndarray:
    """Correlation of every concept with every label over the kept tokens: [k, l]."""
    kept_bt = codes.document_bt >= 0
    return label_correlations(codes.z_btk[kept_bt], label_btl[kept_bt])


def with_labels(codes: CodeTable, label_btl: np.ndarray, concept_l: np.ndarray) -> CodeTable:
    """The same codes with each label itself, 0 or 1, in the place of the concept that was found for it."""
    z_btk = codes.z_btk.copy()
    z_btk[..., concept_l] = label_btl
    return codes._replace(z_btk=z_btk)


def fold_moments(codes: CodeTable, lags: int, active: int, folds: int = 10, batch: int = 32) -> list[CodeMoments]:
    """Moments of groups of documents, thrown together at random; merged, they are those of all."""
    documents = np.unique(codes.document_bt[codes.document_bt >= 0])
    fold_n = np.random.default_rng(0).permutation(len(documents)) % folds
    place_bt = np.minimum(np.searchsorted(documents, codes.document_bt), len(documents) - 1)
    fold_bt = np.where(codes.document_bt >= 0, fold_n[place_bt], DROPPED)
    parts = []
    for fold in range(folds):
        rows = (fold_bt == fold).any(axis=1)
        document_bt = np.where(fold_bt[rows] == fold, codes.document_bt[rows], np.int32(DROPPED))
        part = CodeTable(codes.z_btk[rows], codes.token_bt[rows], document_bt)
        batches = ((jnp.asarray(z_btk), jnp.asarray(document_bt)) for z_btk, document_bt in part.batches(batch))
        parts.append(code_moments(batches, lags, active))
    return parts


def estimates(folds: Sequence[CodeMoments], parents: int, within: int) -> dict[str, Process]:
    """The baseline and ours, from the same moments.

    Ours: effects of few sources by forward selection, of earlier tokens and within the token each alone, so that a
    delayed effect is all of it, with what passes through other concepts of the same token. Certified: of each effect
    only the size that is left after `SUPPORTED` standard errors, by leaving out a fold of documents at a time.

    Args:
      folds: from `fold_moments`.
      parents: delayed effects that a concept receives at most.
      within: effects within the token that it receives at most.
    """
    moments = reduce(merge, folds)
    rank_k = present_order(moments)
    b_lkk, certified_lkk = _effects(folds, _sources(moments, parents, None, moments.lags), moments.lags)
    m_lkk, certified_m_lkk = _effects(folds, _sources(moments, within, rank_k, 0), 0)
    return {
        "regression": regression(moments),
        "closed form": Process(b_lkk, m_lkk[0], None),
        "closed form, certified": Process(certified_lkk, certified_m_lkk[0], None),
    }


def _sources(moments: CodeMoments, parents: int, rank_k: Array | None, lags: int) -> Array:
    mean_lk = moments.sum_lk / moments.tokens
    found = forward_selection(lag_table(moments), mean_lk, rank_k, parents=parents, lags=lags, ridge=0.03)
    return jnp.where(found.gain_kp > 0, found.source_kp, -1)


def _effects(folds: Sequence[CodeMoments], source_kp: Array, lags: int) -> tuple[Array, Array]:
    """Effects of given sources, and what of them is certified; M alone where there are no lags."""

    def fitted(parts: Sequence[CodeMoments]) -> np.ndarray:
        process = fit_support(reduce(merge, parts), source_kp, lags=lags)
        if lags:
            return np.asarray(process.b_lkk)
        return np.zeros((1, *source_kp.shape[:1] * 2)) if process.m_kk is None else np.asarray(process.m_kk)[None]

    whole, count = fitted(folds), len(folds)
    left_out = [fitted([*folds[:fold], *folds[fold + 1 :]]) for fold in range(count)]
    error = np.sqrt((count - 1) / count * sum((part - whole) ** 2 for part in left_out))
    return jnp.asarray(whole), jnp.asarray(np.sign(whole) * np.maximum(np.abs(whole) - SUPPORTED * error, 0))


def regression(moments: CodeMoments, ridge: float = 1e-3) -> Process:
    """What is done without a model of relations: ridge of each concept on the past, and apart on the token's others."""
    covariance_kk = covariance(moments)
    precision_kk = np.linalg.inv(covariance_kk + ridge * np.diag(np.maximum(np.diagonal(covariance_kk), 1e-9)))
    weight_kk = -precision_kk / np.diagonal(precision_kk)[:, None]
    np.fill_diagonal(weight_kk, 0)
    return fit_moments(moments, parents=None).replace(m_kk=jnp.asarray(weight_kk, jnp.float32))


def covariance(moments: CodeMoments) -> np.ndarray:
    """Of the concepts within a token."""
    mean_k = np.asarray(moments.sum_lk[0]) / moments.tokens
    return np.asarray(moments.cross_lkk[0]) / moments.tokens - np.outer(mean_k, mean_k)


def recovered(process: Process, std_k: np.ndarray, pairs: Sequence[Pair]) -> list[Recovery]:
    """Of every template in turn: delayed ones in B, the others in M, either way round."""
    delayed, instantaneous = delayed_coefficients(process, std_k), instantaneous_coefficients(process, std_k)
    before = [pair for template, pair in zip(TEMPLATES, pairs, strict=True) if template.gap]
    beside = [pair for template, pair in zip(TEMPLATES, pairs, strict=True) if not template.gap]
    beside += [Pair(pair.target, pair.source) for pair in beside]
    return [
        recover(delayed, pair, before) if template.gap else recover(instantaneous, pair, beside)
        for template, pair in zip(TEMPLATES, pairs, strict=True)
    ]
