"""How fast a sparse process grows, and the scale of B at which it grows no faster than it may."""

from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from tcr_jax.worlds.graphs import total_effects

DENSE = 64  # up to this size all eigenvalues are found, which is fast and never fails to converge


def spectral_radius(b: Sequence[sp.csr_array], m: sp.csr_array) -> float:
    """The largest |eigenvalue| of the companion matrix of z_t = (I - M)^{-1} sum_l B_l z_{t-l}, to about 0.1 %."""
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

    def companion(z_lk: np.ndarray) -> np.ndarray:
        z_lk = z_lk.reshape(size)
        return np.concatenate([inverse @ (stacked @ z_lk), z_lk[: size - k]])

    if size <= DENSE:
        whole = np.stack([companion(unit) for unit in np.eye(size)], axis=1)
        return float(np.abs(np.linalg.eigvals(whole)).max())
    operator = spla.LinearOperator((size, size), matvec=companion, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    values = spla.eigs(operator, k=2, ncv=40, v0=start, tol=1e-4, return_eigenvectors=False)
    return float(np.abs(values).max())
