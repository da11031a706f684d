"""How fast a sparse process grows, and the scale of B at which it grows no faster than it may."""

from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.sparse as sp

from tcr_jax.acyclicity import total_effects

TOKENS = 2000  # of power iteration; the growth is averaged over the second half


def spectral_radius(b: Sequence[sp.csr_array], m: sp.csr_array) -> float:
    """The growth a token of z_t = (I - M)^{-1} sum_l B_l z_{t-l} in the long run, to about 0.1 %.

    By power iteration: where lags are many, the companion matrix has too many eigenvalues of nearly the largest size
    for Arnoldi's method to tell them apart, but their growth is the same.
    """
    return _radius(sp.hstack(b, format="csr"), total_effects(m))


def stabilise(b: Sequence[sp.csr_array], m: sp.csr_array, radius: float) -> list[sp.csr_array]:
    """All of B times one factor of at most 1, such that the process grows by at most `radius` a token."""
    stacked, inverse = sp.hstack(b, format="csr"), total_effects(m)

    def excess(log_factor: float) -> float:
        return float(np.log(max(_radius(np.exp(log_factor) * stacked, inverse), 1e-30) / radius))

    if excess(0.0) <= 0:
        return list(b)
    low = -1.0
    while excess(low) > 0:
        low *= 2
    factor = np.exp(scipy.optimize.brentq(excess, low, 0.0, xtol=1e-3))
    return [factor * b_kk for b_kk in b]


def _radius(stacked: sp.csr_array, inverse: sp.csr_array) -> float:
    """`spectral_radius` of B [k, l k] and (I - M)^{-1}."""
    k, size = stacked.shape
    z_lk = np.random.default_rng(0).standard_normal(size)
    growth = np.zeros(TOKENS)
    for token in range(TOKENS):
        norm = np.linalg.norm(z_lk)
        if norm < np.finfo(float).tiny:
            return 0.0
        growth[token] = np.log(norm)
        z_lk = z_lk / norm
        z_lk = np.concatenate([inverse @ (stacked @ z_lk), z_lk[: size - k]])
    return float(np.exp(growth[TOKENS // 2 :].mean()))
