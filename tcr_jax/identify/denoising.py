"""Columns without their noise, as far as they tell themselves which of their entries are zero.

An entry y = x + noise of variance v; x is zero but for a share p of a column's entries, which are normal with variance
s^2. With P = P(x != 0 | y) the posterior mean and variance are

    E[x | y] = P w y,    var(x | y) = P w v + P (1 - P) (w y)^2,    w = s^2 / (s^2 + v)

and p and s^2 are each column's own, by expectation and maximisation. A sparse column loses its noise; one that is full
of effects too small to be seen one by one keeps them. Source: Johnstone and Silverman 2004, "Needles and straw in
haystacks: empirical Bayes estimates of possibly sparse sequences", with a normal slab.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

STEPS = 20
"""Of expectation and maximisation."""

CLEAR = 3.0
"""Standard errors from which on entries count as effects when it begins."""

TINY = 1e-30


class Denoised(NamedTuple):
    """Posterior mean and variance of every entry."""

    mean_rk: np.ndarray
    variance_rk: np.ndarray


def denoised(column_rk: np.ndarray, deviation_rk: np.ndarray) -> Denoised:
    """Of columns whose entries have these standard errors.

    >>> column_rk = np.array([[0.5], [-0.4], [0.02], [-0.01], [0.0], [0.01]])
    >>> denoised(column_rk, np.full((6, 1), 0.02)).mean_rk[:, 0].round(2).tolist()
    [0.5, -0.4, 0.0, -0.0, 0.0, 0.0]
    """
    square_rk, noise_rk = np.square(column_rk), np.square(deviation_rk)
    least = 1 / len(column_rk)
    clear_rk = square_rk > CLEAR**2 * noise_rk
    share_k = np.clip(clear_rk.mean(axis=0), least, 1 - least)
    clear_k = np.maximum(clear_rk.sum(axis=0), 1)
    size_k = np.where(clear_rk.any(axis=0), (square_rk * clear_rk).sum(axis=0) / clear_k, noise_rk.max(axis=0))
    for _ in range(STEPS):
        total_rk = size_k + noise_rk
        keep_rk = size_k / total_rk
        log_odds_rk = 0.5 * (np.log(noise_rk / total_rk) + square_rk * keep_rk / noise_rk)
        chance_rk = expit(log_odds_rk + np.log(share_k / (1 - share_k)))
        mean_rk, variance_rk = keep_rk * column_rk, keep_rk * noise_rk
        second_k = (chance_rk * (np.square(mean_rk) + variance_rk)).sum(axis=0)
        size_k = np.maximum(second_k / np.maximum(chance_rk.sum(axis=0), TINY), TINY)
        share_k = np.clip(chance_rk.mean(axis=0), least, 1 - least)
    unsure_rk = chance_rk * (1 - chance_rk)
    return Denoised(chance_rk * mean_rk, chance_rk * variance_rk + unsure_rk * np.square(mean_rk))
