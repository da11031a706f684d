"""From independent innovations to effects: the sparsest M, B, and what the zeros among them say of the unmixing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.discovery import discovery_threshold
from tcr_jax.identify.evidence import Estimate, Evidence
from tcr_jax.identify.refine import refine
from tcr_jax.identify.sparsest import sparsest_acyclic
from tcr_jax.identify.stages import Arrays, Stages
from tcr_jax.identify.types import Say
from tcr_jax.identify.unmix import Unmixed

FITS = 1.1
"""How many times as much as sampling explains effects may vary that are held at zero."""

SEARCHES = 5
"""For M, each with errors as large as the one before found them."""


class Related(NamedTuple):
    """In units of the innovations' standard deviations."""

    b_lkk: np.ndarray
    m_kk: np.ndarray
    draws: Estimate | None  # of the error
    unmixing_kk: np.ndarray  # U
    misfit: float  # by which the errors of B' were raised


def relate(unmixed: Unmixed, seed: int, refined: bool, draws: int, stages: Stages, say: Say) -> Related:
    """M, B, and what the zeros among them say of the unmixing."""
    unmixing_kk, b_lkk, past_pp, error_lkk = delayed(unmixed)
    lags, k, _ = b_lkk.shape

    def sparsest() -> Arrays:
        """Searched with larger errors as long as what is held at zero varies more than they explain.

        Where the model is right it never does. Where it is not, as with noise on the activations, B' is nowhere zero,
        and with the errors of sampling alone every trace of that would be taken for an effect.
        """
        misfit = 1.0
        for search in range(1, SEARCHES + 1):
            say(f"sparsest acyclic M of {k} concepts")
            m_kk = sparsest_acyclic(b_lkk, misfit * error_lkk, observe=say)
            standardised_lkk = _standardised(b_lkk, misfit * error_lkk, m_kk)[1]
            held_n = standardised_lkk[np.abs(standardised_lkk) <= discovery_threshold(standardised_lkk)]
            spread = float(np.sqrt(np.square(held_n).mean())) if len(held_n) else 0.0
            if spread <= FITS or search == SEARCHES:
                break
            misfit *= spread
            say(f"effects held at zero vary {misfit:.2f} times as much as sampling explains: again, with such errors")
        return {"m_kk": m_kk, "misfit": np.array(misfit)}

    found = stages.run("sparsest", sparsest)
    m_kk, misfit = found["m_kk"], float(found["misfit"])
    identity_kk = np.eye(k)
    u_lkk, standardised_lkk = _standardised(b_lkk, misfit * error_lkk, m_kk)
    free_lkk = np.abs(standardised_lkk) > discovery_threshold(standardised_lkk)
    if not refined:
        return Related(np.where(free_lkk, u_lkk, 0), m_kk, None, unmixing_kk, misfit)
    say(f"refining {np.count_nonzero(free_lkk):,} delayed and {np.count_nonzero(m_kk):,} instantaneous effects")
    evidence = Evidence(
        b_lkk=jnp.float32(b_lkk),
        past_pp=jnp.float32(past_pp),
        information_k=jnp.float32(unmixed.information_k),
        count=jnp.float32(unmixed.tokens / misfit**2),
        b_free_lkk=jnp.asarray(free_lkk),
        m_free_kk=jnp.asarray(m_kk != 0),
    )
    estimate, errors = refine(evidence, jnp.float32(m_kk), jax.random.key(seed), draws)
    b_lkk, m_kk, off_kk = (np.asarray(part, np.float64) for part in (estimate.b_lkk, estimate.m_kk, estimate.off_kk))
    return Related(b_lkk, m_kk, errors, (identity_kk - off_kk) @ unmixing_kk, misfit)


def _standardised(b_lkk: np.ndarray, error_lkk: np.ndarray, m_kk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """B = B' (I - M), and the same in standard errors."""
    u_lkk = b_lkk @ (np.eye(len(m_kk)) - m_kk)
    return u_lkk, u_lkk / np.sqrt(error_lkk**2 + error_lkk**2 @ m_kk**2)


def delayed(unmixed: Unmixed) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """U, B'_l, the covariance of z' over the lags, and the standard errors of B'.

    An entry of B' varies with the autoregression's estimate, by the information a_i of its target's innovation, and
    with the unmixing's: B' turns into B' - E B' + B' E.
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
    off_variance_kk = a_k / np.maximum(a_k[:, None] * a_k - 1, 1e-3)  # of E_ij, times n
    np.fill_diagonal(off_variance_kk, 0)
    variance_lkk = precision_p.reshape(lags, 1, k) / a_k[:, None]
    variance_lkk = variance_lkk + off_variance_kk @ b_lkk**2 + b_lkk**2 @ off_variance_kk
    return unmixing_kk, b_lkk, past_pp, np.sqrt(variance_lkk / n)
