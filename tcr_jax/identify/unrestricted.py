"""Delayed effects as unmixing and autoregression have them, before anything is held at zero; and their errors."""

from typing import NamedTuple

import numpy as np

from tcr_jax.identify.refine import Refined
from tcr_jax.identify.unmix import Unmixed


class Unrestricted(NamedTuple):
    """In units of the innovations' standard deviations; see `evidence` for what the errors mean."""

    unmixing_kk: np.ndarray  # U
    b_lkk: np.ndarray  # B' = U Phi U^{-1}
    past_pp: np.ndarray  # covariance of z' over the lags
    error_lkk: np.ndarray  # standard errors of B'
    off_error_kk: np.ndarray  # of E, what the unmixing is off by
    information_k: np.ndarray
    tokens: float


def unrestricted(unmixed: Unmixed, off_error_kk: np.ndarray | None = None) -> Unrestricted:
    """An entry of B' varies with the autoregression's estimate, by the information a_i of its target's innovation, and
    with the unmixing's: B' turns into B' - E B' + B' E.

    Args:
      unmixed: the innovations.
      off_error_kk: standard errors of the unmixing, where they are not those of maximum likelihood.
    """
    q_kf, n, a_k = unmixed.from_lagged_kf, unmixed.tokens, unmixed.information_k
    k = len(q_kf)
    lags = q_kf.shape[1] // k - 1
    unmixing_kk = q_kf[:, :k]
    inverse_kk = np.linalg.inv(unmixing_kk)
    b_lkk = np.stack([-q_kf[:, lag * k : (lag + 1) * k] @ inverse_kk for lag in range(1, lags + 1)])
    past_lklk = unmixed.covariance_ff[k:, k:].reshape(lags, k, lags, k)
    past_lklk = np.einsum("ia,lamb->limb", unmixing_kk, past_lklk, optimize=True) @ unmixing_kk.T
    past_pp = past_lklk.reshape(lags * k, lags * k)
    precision_p = np.diag(np.linalg.inv(past_pp))
    if off_error_kk is None:
        off_error_kk = np.sqrt(a_k / np.maximum(a_k[:, None] * a_k - 1, 1e-3) / n)
        np.fill_diagonal(off_error_kk, 0)
    off_variance_kk = off_error_kk**2
    variance_lkk = precision_p.reshape(lags, 1, k) / a_k[:, None] / n
    variance_lkk = variance_lkk + off_variance_kk @ b_lkk**2 + b_lkk**2 @ off_variance_kk
    return Unrestricted(unmixing_kk, b_lkk, past_pp, np.sqrt(variance_lkk), off_error_kk, a_k, n)


def sharper(unmixed: Unmixed, refined: Refined) -> Unrestricted:
    """The same with the refined unmixing (I - E) U, and the errors that are left of that; it needs draws of them."""
    off_kk, off_error_kk = (np.asarray(part.off_kk, np.float64) for part in (refined.estimate, refined.errors()))
    from_lagged_kf = unmixed.from_lagged_kf - off_kk @ unmixed.from_lagged_kf
    return unrestricted(unmixed._replace(from_lagged_kf=from_lagged_kf), off_error_kk)
