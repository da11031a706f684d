"""From independent innovations to effects: the sparsest M, B, and what the zeros among them say of the unmixing."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import chdtri

from tcr_jax.identify.discovery import discovery_threshold
from tcr_jax.identify.evidence import Estimate, Evidence
from tcr_jax.identify.refine import Refined, refine
from tcr_jax.identify.sparsest import sparsest_acyclic
from tcr_jax.identify.stages import Arrays, Stages
from tcr_jax.identify.types import Say
from tcr_jax.identify.unmix import Unmixed
from tcr_jax.identify.unrestricted import Unrestricted, sharper, unrestricted

FITS = 1.1
"""How many times as much as sampling explains effects may vary that are held at zero, where they are many."""

CHANCE = 1e-3
"""That few such effects vary as much by chance."""

SEARCHES = 5
"""For M, each with errors as large as the one before found them."""

SMALL = 2.0
"""An instantaneous effect below so many times the size that is clear beside errors of the unmixing is put to a test."""

DRAWS = 64
"""Of an estimate's errors, for that test."""


class Related(NamedTuple):
    """In units of the innovations' standard deviations."""

    b_lkk: np.ndarray
    m_kk: np.ndarray
    draws: Estimate | None  # of the error
    unmixing_kk: np.ndarray  # U
    misfit: float  # by which the errors of B' were raised


def relate(unmixed: Unmixed, seed: int, refined: bool, draws: int, stages: Stages, say: Say) -> Related:
    """M, B, and what the zeros among them say of the unmixing.

    Where the unmixing is so rough that its errors may pass for instantaneous effects, the search is done twice: what
    the first one finds tells much of those errors, unless sampling does not explain them.
    """
    start = view = unrestricted(unmixed)
    clear = _clear(start)

    def nearest(m_kk: np.ndarray, misfit: float, draws: int) -> Refined:
        free_lkk = _delayed(view, m_kk, misfit)[1]
        say(f"refining {np.count_nonzero(free_lkk):,} delayed and {np.count_nonzero(m_kk):,} instantaneous effects")
        evidence = Evidence(
            b_lkk=jnp.float32(start.b_lkk),
            past_pp=jnp.float32(start.past_pp),
            information_k=jnp.float32(start.information_k),
            count=jnp.float32(start.tokens / misfit**2),
            b_free_lkk=jnp.asarray(free_lkk),
            m_free_kk=jnp.asarray(m_kk != 0),
        )
        return refine(evidence, jnp.float32(m_kk), jax.random.key(seed), draws)

    for stage in ("sparsest", "sparsest_again"):
        found = stages.run(stage, functools.partial(_sparsest, view, say))
        m_kk, misfit = found["m_kk"], float(found["misfit"])
        small_kk = (m_kk != 0) & (np.abs(m_kk) < SMALL * clear * misfit * view.off_error_kk)
        if not (refined and small_kk.any()):
            break
        tested = nearest(m_kk, misfit, DRAWS)
        small_kk &= ~_stands(tested, clear)
        say(f"{np.count_nonzero(small_kk):,} instantaneous effects left out: errors of the unmixing explain them")
        m_kk = np.where(small_kk, 0, m_kk)
        if misfit > 1:
            break
        view = sharper(unmixed, nearest(m_kk, misfit, DRAWS) if small_kk.any() else tested)
    if not refined:
        u_lkk, free_lkk = _delayed(start, m_kk, misfit)
        return Related(np.where(free_lkk, u_lkk, 0), m_kk, None, start.unmixing_kk, misfit)
    estimate, errors = nearest(m_kk, misfit, draws)
    b_lkk, m_kk, off_kk = (np.asarray(part, np.float64) for part in (estimate.b_lkk, estimate.m_kk, estimate.off_kk))
    return Related(b_lkk, m_kk, errors, (np.eye(len(m_kk)) - off_kk) @ start.unmixing_kk, misfit)


def _sparsest(start: Unrestricted, say: Say) -> Arrays:
    """M, searched with larger errors as long as what is held at zero varies more than they explain.

    Where the model is right it never does. Where it is not, as with noise on the activations, B' is nowhere zero,
    and with the errors of sampling alone every trace of that would be taken for an effect.
    """
    misfit = 1.0
    for search in range(1, SEARCHES + 1):
        say(f"sparsest acyclic M of {len(start.unmixing_kk)} concepts")
        m_kk = sparsest_acyclic(start.b_lkk, misfit * start.error_lkk, observe=say)
        standardised_lkk = _standardised(start, m_kk, misfit)[1]
        held_n = standardised_lkk[np.abs(standardised_lkk) <= discovery_threshold(standardised_lkk)]
        spread = float(np.sqrt(np.square(held_n).mean())) if len(held_n) else 0.0
        if spread <= _largest_spread(len(held_n)) or search == SEARCHES:
            break
        misfit *= spread
        say(f"effects held at zero vary {misfit:.2f} times as much as sampling explains: again, with such errors")
    return {"m_kk": m_kk, "misfit": np.array(misfit)}


def _largest_spread(count: int) -> float:
    """That sampling may leave among so many standardised effects."""
    return max(FITS, float(np.sqrt(chdtri(count, CHANCE) / count))) if count else FITS


def _delayed(start: Unrestricted, m_kk: np.ndarray, misfit: float) -> tuple[np.ndarray, np.ndarray]:
    """B = B' (I - M), and which of its entries differ from zero."""
    u_lkk, standardised_lkk = _standardised(start, m_kk, misfit)
    return u_lkk, np.abs(standardised_lkk) > discovery_threshold(standardised_lkk)


def _standardised(start: Unrestricted, m_kk: np.ndarray, misfit: float) -> tuple[np.ndarray, np.ndarray]:
    """B = B' (I - M), and the same in standard errors."""
    u_lkk, variance_lkk = start.b_lkk @ (np.eye(len(m_kk)) - m_kk), np.square(misfit * start.error_lkk)
    return u_lkk, u_lkk / np.sqrt(variance_lkk + variance_lkk @ m_kk**2)


def _clear(start: Unrestricted) -> float:
    """How large an instantaneous effect must be, in standard errors, to be worth its place.

    The unmixing's error E_mj adds E_mj times concept m's column of B' to j's: all its entries together look like an
    effect of j on m, and the search, which takes errors to be independent, then has one. The extended BIC of a graph:
    t^2 > log n + 4 log k.
    Source: Foygel and Drton 2010, "Extended Bayesian information criteria for Gaussian graphical models".
    """
    return float(np.sqrt(np.log(start.tokens) + 4 * np.log(len(start.unmixing_kk))))


def _stands(refined: Refined, clear: float) -> np.ndarray:
    """Which instantaneous effects are clear once the unmixing's error is estimated beside them."""
    return np.abs(np.asarray(refined.estimate.m_kk)) > clear * np.asarray(refined.errors().m_kk)
