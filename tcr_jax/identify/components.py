"""Independent components of residuals that are held in memory: ICA, then Newton's method for the likelihood."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.density import fit_scores, scores_from
from tcr_jax.identify.ica import fast_ica
from tcr_jax.identify.likelihood import add_gradient, newton_step, no_gradient, unit_variance
from tcr_jax.identify.moments import add_moments, no_moments
from tcr_jax.identify.parts import average, multiplied
from tcr_jax.identify.stages import Arrays
from tcr_jax.identify.types import Say
from tcr_jax.typing import DROPPED

SETTLED = 2e-3
"""Largest relative Newton step at which the likelihood counts as maximised on these tokens."""

STEPS = 20
"""Of Newton's method, at most: Laplace innovations take 2 or 3, nearly Gaussian ones 10 and more."""

ROWS = 2**14
"""Residuals that are read at a time."""

FIRST = 2**15
"""Residuals that the first step's scores are fitted to; after it they are fitted to all."""


def components(residual_nk: jax.Array, key: jax.Array, say: Say) -> Arrays:
    """The unmixing of these residuals: ICA, then Newton's method for the likelihood.

    The residuals are made white where they lie: the array that was given is used up.
    """
    k = residual_nk.shape[1]
    residual_nk, rewhiten_kk = _white(residual_nk)
    rotation_kk, iterations, moving = fast_ica(residual_nk, key, observe=lambda line: say(f"ICA: {line}"))
    settled = moving < 1e-3
    say(f"ICA: {'at rest' if settled else 'NOT at rest'} after {iterations} iterations")
    none, moments = jnp.zeros(k), no_moments(k, 0)
    for chunk in _chunks(residual_nk):
        moments = add_moments(moments, *chunk)
    unmixing_kk = unit_variance(rotation_kk, moments)
    scores = fit_scores(jnp.matmul(residual_nk[:FIRST], unmixing_kk.T, precision="highest"))
    for _ in range(STEPS):
        gradient = no_gradient(k, k, fitting=True)
        for chunk in _chunks(residual_nk):
            gradient = add_gradient(gradient, unmixing_kk, none, scores, *chunk)
        unmixing_kk, information_k, largest = newton_step(unmixing_kk, gradient, moments)
        assert gradient.overlaps is not None
        scores = scores_from(gradient.overlaps, gradient.count)
        if largest < SETTLED:
            break
    say(f"likelihood: largest change {float(largest):.1e}, information {float(information_k.min()):.2f} at least")
    return {
        "unmixing_kk": np.asarray(jnp.matmul(unmixing_kk, rewhiten_kk, precision="highest")),
        "weight_mk": np.asarray(scores.weight_mk),
        "settled": np.asarray(settled),
    }


@functools.partial(jax.jit, donate_argnums=0)
def _white(residual_nk: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of covariance 1 on these tokens too, and what makes them so."""
    covariance_kk = average(lambda r_nk: jnp.matmul(r_nk.T, r_nk, precision="highest") / len(r_nk), residual_nk)
    lower_kk = jnp.linalg.cholesky(covariance_kk)
    rewhiten_kk = jax.scipy.linalg.solve_triangular(lower_kk, jnp.eye(len(lower_kk)), lower=True)
    return multiplied(residual_nk, rewhiten_kk), rewhiten_kk


def _chunks(residual_nk: jax.Array) -> Iterator[tuple[jax.Array, jax.Array]]:
    """As batches of one sequence, of one length."""
    size = min(ROWS, len(residual_nk))
    for first in range(0, len(residual_nk), size):
        yield _chunk(residual_nk, first, size)


@functools.partial(jax.jit, static_argnames="size")
def _chunk(residual_nk: jax.Array, first: int, size: int) -> tuple[jax.Array, jax.Array]:
    """From token `first` on; of the last one those that another chunk has are marked as dropped."""
    start = jnp.minimum(first, len(residual_nk) - size)
    document_n = jnp.where(start + jnp.arange(size) >= first, 0, DROPPED)
    return jax.lax.dynamic_slice_in_dim(residual_nk, start, size)[None], document_n[None]
