"""Every measure of a found model against a known world, by name."""

from typing import NamedTuple

import jax
import numpy as np

from tcr_jax.dictionary import encode
from tcr_jax.params import Params, Process
from tcr_jax.process import history, predict
from tcr_jax.scores.alignment import align
from tcr_jax.scores.edges import edges
from tcr_jax.scores.matching import UNMATCHED, Matching
from tcr_jax.scores.mcc import Mcc, mcc
from tcr_jax.typing import Array
from tcr_jax.worlds import Sample

_encode = jax.jit(encode)
_predictions = jax.jit(jax.vmap(predict, in_axes=(None, 0, 0)))
_histories = jax.jit(jax.vmap(history, in_axes=(0, None)), static_argnums=1)


class Signals(NamedTuple):
    """A model's account of the scored tokens."""

    z_nk: np.ndarray  # concepts
    zprime_nk: np.ndarray  # (I - M) z
    eps_nk: np.ndarray  # innovations


def recovery(world: Params, found: Params, sample: Sample) -> dict[str, float]:
    """Scores concepts, innovations and edges of `found` against the truth.

    Only tokens with full history (the longer of the two processes' lags) are scored. B and M are compared in the
    numbering and signs that match z, so where z was not found no edge can be, and in the true units: by the ratio of
    standard deviations, as a regression's slope would shrink with the correlation and bias every effect.

    Args:
      world: the truth.
      found: an estimate; it may have fewer or more concepts, and lack B or M, which then count as zeros.
      sample: what the known world emitted; best fresh, never seen by the estimator.

    Returns:
      By name: `z_mcc`, with `_median`, `_worst` and `_above_99`; the same of `zprime_mcc` for z' = (I - M) z and of
      `eps_mcc`; `z_mcc_spearman` and `z_mcc_cosine`; `z_mcc_floor`, what the true z' scores as z: a perfect estimator
      that ignores M gets it; every field of `EdgeScores` as `B_` and as `M_`.

    Raises:
      ValueError: the sample is of another width than the estimate, hardly a token has full history, or a found concept
        or effect is not finite.
    """
    widths = sample.x_btd.shape[-1], found.dictionary.decoder_kd.shape[1]
    if len(set(widths)) > 1:
        raise ValueError(f"the sample has {widths[0]} channels and the estimate {widths[1]}: score it on its own world")
    lags = max(_lags(world.process), _lags(found.process))
    scored_bt = np.asarray(_histories(sample.document_bt, lags))
    if np.count_nonzero(scored_bt) < 2:
        raise ValueError(f"hardly a token of the sample has {lags} earlier ones in its document: give longer documents")
    with jax.default_matmul_precision("highest"):
        found_z_btk = _encode(found.dictionary, sample.x_btd)
        true = _signals(world.process, sample.z_btk, sample.document_bt, scored_bt)
        estimate = _signals(found.process, found_z_btk, sample.document_bt, scored_bt)

    z = mcc(true.z_nk, estimate.z_nk)
    scores = _figures("z_mcc", z)
    scores["z_mcc_spearman"] = mcc(true.z_nk, estimate.z_nk, "spearman").mean
    scores["z_mcc_cosine"] = mcc(true.z_nk, estimate.z_nk, "cosine").mean
    scores["z_mcc_floor"] = mcc(true.z_nk, true.zprime_nk).mean
    scores |= _figures("zprime_mcc", mcc(true.zprime_nk, estimate.zprime_nk))
    scores |= _figures("eps_mcc", mcc(true.eps_nk, estimate.eps_nk))

    latents = true.z_nk.shape[1]
    truth = _effects(world.process, latents)
    aligned = _effects(_aligned(found.process, z.matching, true.z_nk, estimate.z_nk), latents)
    for name, true_effects, found_effects in zip(("B", "M"), truth, aligned, strict=True):
        edge_scores = edges(true_effects, found_effects)._asdict()
        scores |= {f"{name}_{field}": value for field, value in edge_scores.items()}
    return scores


def _lags(process: Process) -> int:
    return 0 if process.b_lkk is None else len(process.b_lkk)


def _signals(process: Process, z_btk: Array, document_bt: Array, scored_bt: np.ndarray) -> Signals:
    past_btk, present_btk = _predictions(process, z_btk, document_bt)
    z_nk, past_nk, present_nk = (np.asarray(values)[scored_bt] for values in (z_btk, past_btk, present_btk))
    return Signals(z_nk, z_nk - present_nk, z_nk - present_nk - past_nk)


def _figures(name: str, score: Mcc) -> dict[str, float]:
    figures = {f"{name}_{field}": getattr(score, field) for field in ("median", "worst", "above_99")}
    return {name: score.mean} | figures


def _aligned(process: Process, matching: Matching, z_nk: np.ndarray, found_z_nk: np.ndarray) -> Process:
    """`process` in the true units; concepts without any correlation stand for none."""
    matching = matching._replace(found_k=np.where(matching.similarity_k == 0, UNMATCHED, matching.found_k))
    spread_k, found_spread_k = (values_nk.std(axis=0, dtype=np.float64) for values_nk in (z_nk, found_z_nk))
    matched_k = matching.found_k >= 0
    ratio_k = np.divide(spread_k, found_spread_k[matching.found_k], out=np.ones_like(spread_k), where=matched_k)
    return align(process, matching, np.sign(matching.similarity_k) * ratio_k)


def _effects(process: Process, latents: int) -> tuple[np.ndarray, np.ndarray]:
    """B [l, k, k] and M [k, k]; zeros for the one that the process lacks."""
    b_lkk = np.zeros((1, latents, latents)) if process.b_lkk is None else np.asarray(process.b_lkk)
    return b_lkk, np.zeros((latents, latents)) if process.m_kk is None else np.asarray(process.m_kk)
