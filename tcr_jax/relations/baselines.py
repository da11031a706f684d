"""How well each predictor does on held-out text, next to predicting nothing and predicting the mean."""

from typing import NamedTuple

import numpy as np

from tcr_jax.relations.evidence import Evidence, Moments, Pairs


class Predictor(NamedTuple):
    """One row of the table of baselines.

    `r2` = 1 - sum_i MSE_i / sum_i var(z_i), pooled over concepts; `median_r2` is the median over concepts that fire.
    The mean is the best constant in hindsight, of the held-out text itself: R^2 = 0 by definition. A part that a
    predictor leaves out is replaced by its held-out mean, so that no row gains or loses by the intercept alone.
    """

    name: str
    meaning: str
    r2: float
    median_r2: float


MEANINGS = {
    "own past": "each concept from its own earlier values, the diagonal of B",
    "past": "all of B, earlier tokens only; M left out",
    "past, through M": "earlier tokens only, their effects followed through M: (I - M)⁻¹ (Σ B z + c)",
    "present": "M only, other concepts of the same token",
    "past and present": "the model as trained, B and M and its own intercept",
}
WHOLE = ("past, through M", "past and present")  # leave no part out
NEEDS = {
    "own past": ("past",),
    "past": ("past",),
    "past, through M": ("past", "present"),
    "present": ("present",),
    "past and present": (),
}


def mean(moments: Moments, tokens: int) -> np.ndarray:
    """E[v] of each concept (or of each lag and concept)."""
    return np.asarray(moments.sum_k, np.float64) / tokens


def variance(moments: Moments, tokens: int) -> np.ndarray:
    """var(v) of each concept (or of each lag and concept), never below zero."""
    return np.maximum(np.asarray(moments.square_k, np.float64) / tokens - mean(moments, tokens) ** 2, 0)


def predictors(evidence: Evidence) -> list[Predictor]:
    """The table of baselines, from predicting zero to the whole model. Rows that the process lacks are left out."""
    tokens = int(evidence.tokens)
    variance_k, mean_k = variance(evidence.z, tokens), mean(evidence.z, tokens)
    rows = [
        _predictor("zero", "always zero, as most entries of a sparse code are", variance_k + mean_k**2, variance_k),
        _predictor("mean", "each concept's mean over this text, no lags: the zero point of R²", variance_k, variance_k),
    ]
    for name, meaning in MEANINGS.items():
        if any(getattr(evidence, part) is None for part in NEEDS[name]):
            continue
        residual = evidence.errors[name]
        bias_k = mean(residual if name in WHOLE else evidence.errors["past and present"], tokens)
        rows.append(_predictor(name, meaning, variance(residual, tokens) + bias_k**2, variance_k))
    return rows


def lag_losses(evidence: Evidence) -> list[float]:
    """The R^2 lost when one part is replaced by its mean: first M (nan without one), then B_1, B_2, ..."""
    tokens = int(evidence.tokens)
    mean_k = mean(evidence.errors["past and present"], tokens)
    total = variance(evidence.z, tokens).sum()

    def losses(pairs: Pairs) -> list[float]:
        cross = np.atleast_2d(pairs.part_cross_k) / tokens - mean_k * np.atleast_2d(mean(pairs.part, tokens))
        gain = 2 * cross + np.atleast_2d(variance(pairs.part, tokens))
        return (gain.sum(axis=1) / total).tolist()

    present = [float("nan")] if evidence.present is None else losses(evidence.present)
    return present + ([] if evidence.past is None else losses(evidence.past))


def absolute_ratio(evidence: Evidence) -> float:
    """Mean |eps| over mean |z|: above 1, predicting zero wins in absolute error."""
    return float(evidence.errors["past and present"].absolute_k.sum() / evidence.z.absolute_k.sum())


def _predictor(name: str, meaning: str, error_k: np.ndarray, variance_k: np.ndarray) -> Predictor:
    alive_k = variance_k > 0
    if not alive_k.any():
        return Predictor(name, meaning, float("nan"), float("nan"))
    each = 1 - error_k[alive_k] / variance_k[alive_k]
    return Predictor(name, meaning, float(1 - error_k[alive_k].sum() / variance_k.sum()), float(np.median(each)))
