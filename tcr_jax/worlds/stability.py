"""How fast a sparse process grows, and the scale of B at which it grows no faster than it may."""

from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.sparse as sp
import scipy.sparse.linalg as spla

DENSE = 64  # up to this size all eigenvalues are found, which is fast and never fails to converge


def spectral_radius(b: Sequence[sp.csr_array], m: sp.csr_array) -> float:
    """The largest |eigenvalue| of the companion matrix of z_t = (I - M)^{-1} sum_l B_l z_{t-l}, to about 0.1 %."""
    lags, k = len(b), m.shape[0]
    solve = spla.splu((sp.eye_array(k) - m).tocsc()).solve
    stacked = sp.hstack(b, format="csr")

    def companion(z_lk: np.ndarray) -> np.ndarray:
        z_lk = z_lk.reshape(lags * k)
        return np.concatenate([solve(stacked @ z_lk), z_lk[: (lags - 1) * k]])

    if lags * k <= DENSE:
        whole = np.stack([companion(unit) for unit in np.eye(lags * k)], axis=1)
        return float(np.abs(np.linalg.eigvals(whole)).max())
    operator = spla.LinearOperator((lags * k, lags * k), matvec=companion, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(lags * k)
    values = spla.eigs(operator, k=2, ncv=40, v0=start, tol=1e-4, return_eigenvectors=False)
    return float(np.abs(values).max())


def stabilise(b: Sequence[sp.csr_array], m: sp.csr_array, radius: float) -> list[sp.csr_array]:
    """All of B times one factor of at most 1, such that the process grows by at most `radius` a token."""

    def excess(log_factor: float) -> float:
        scaled = [np.exp(log_factor) * b_kk for b_kk in b]
        return float(np.log(max(spectral_radius(scaled, m), 1e-30) / radius))

    if excess(0.0) <= 0:
        return list(b)
    low = -1.0
    while excess(low) > 0:
        low *= 2
    factor = np.exp(scipy.optimize.brentq(excess, low, 0.0, xtol=1e-3))
    return [factor * b_kk for b_kk in b]
