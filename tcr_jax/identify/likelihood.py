"""Maximum likelihood of unmixing and autoregression together: one pass over the data a Newton step.

    e_t = Q (f_t - mean),  f_t = [w_t, w_{t-1}, .., w_{t-l}],  Q = [U, -U Phi_1, .., -U Phi_l]
    log p = log|det U| + sum_i log p_i(e_it)

Source: Pham and Garat 1997, "Blind separation of mixture of independent sources through a quasi-maximum likelihood
approach"; the pairwise Hessian is exact where the components are independent.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from tcr_jax.identify.density import Overlaps, Scores, basis, overlaps, score
from tcr_jax.identify.lagged import lagged
from tcr_jax.identify.moments import Moments
from tcr_jax.typing import Array

LARGEST_STEP = 0.3
"""Of an entry of the relative step: beyond it the quadratic approximation means little."""

NEARLY_GAUSSIAN = 0.005
"""The product of two components' information must pass 1 by this much for their rotation to be moved at all."""


class Gradient(struct.PyTreeNode):
    """Sums over tokens with full history."""

    count: jax.Array
    cross_kf: jax.Array  # phi(e) f^T
    slope_k: jax.Array  # phi'(e)
    overlaps: Overlaps | None  # of the basis that phi is made of, for other scores; they take as long as all the rest


class Step(NamedTuple):
    """What a Newton step did."""

    from_lagged_kf: jax.Array
    information_k: jax.Array
    largest: jax.Array  # entry of the relative step


def no_gradient(latents: int, features: int, fitting: bool = False) -> Gradient:
    """Sums over nothing; with `fitting`, those that scores are fitted to among them."""
    nothing_1k = jnp.zeros((1, latents))
    return Gradient(
        count=jnp.zeros(()),
        cross_kf=jnp.zeros((latents, features)),
        slope_k=jnp.zeros(latents),
        overlaps=jax.tree.map(jnp.zeros_like, overlaps(basis(nothing_1k))) if fitting else None,
    )


@functools.partial(jax.jit, donate_argnums=0)
def add_gradient(
    gradient: Gradient, from_lagged_kf: Array, mean_f: Array, scores: Scores, w_btk: Array, document_bt: Array
) -> Gradient:
    """Adds a batch."""
    lagged_nf, scored_n = lagged(w_btk, document_bt, len(mean_f) // w_btk.shape[-1] - 1)
    centred_nf = jnp.where(scored_n[:, None], lagged_nf - mean_f, 0)
    e_nk = jnp.matmul(centred_nf, from_lagged_kf.T, precision="highest")
    # Every h is 0 at 0, and so at tokens that are not scored; its slope is not
    function_m = [(h_nk, jnp.where(scored_n[:, None], slope_nk, 0)) for h_nk, slope_nk in basis(e_nk)]
    phi_nk, slope_nk = score(scores, function_m)
    fitted = gradient.overlaps
    return gradient.replace(
        count=gradient.count + scored_n.sum(),
        cross_kf=gradient.cross_kf + jnp.matmul(phi_nk.T, centred_nf, precision="highest"),
        slope_k=gradient.slope_k + slope_nk.sum(axis=0),
        overlaps=None if fitted is None else jax.tree.map(jnp.add, fitted, overlaps(function_m)),
    )


@jax.jit
def newton_step(from_lagged_kf: Array, gradient: Gradient, moments: Moments) -> Step:
    """One quasi-Newton step of U, relative to U, and of the autoregression; then unit variance again.

    For components i, j of unit variance the Hessian of the relative step is [[a_i, 1], [1, a_j]], with information
    a = E[phi']: singular where both are Gaussian, and the step is then left out.
    """
    k = moments.latents
    with jax.default_matmul_precision("highest"):
        q_kf = jnp.asarray(from_lagged_kf)
        cross_kf, information_k = gradient.cross_kf / gradient.count, gradient.slope_k / gradient.count
        gradient_kk = cross_kf @ q_kf.T
        information_kk = information_k[:, None] * information_k
        relative_kk = (information_k * gradient_kk - gradient_kk.T) / (information_kk - 1)
        apart_kk = (information_kk > 1 + NEARLY_GAUSSIAN) & ~jnp.eye(k, dtype=bool)
        relative_kk = jnp.clip(jnp.where(apart_kk, relative_kk, 0), -LARGEST_STEP, LARGEST_STEP)
        after_kf = q_kf - relative_kk @ q_kf
        if q_kf.shape[1] > k:
            factor = jax.scipy.linalg.cho_factor(moments.covariance_ff[k:, k:])
            delayed_kp = jax.scipy.linalg.cho_solve(factor, cross_kf[:, k:].T).T / information_k[:, None]
            after_kf = after_kf.at[:, k:].add(-delayed_kp)
        return Step(unit_variance(after_kf, moments), information_k, jnp.abs(relative_kk).max())


@jax.jit
def unit_variance(from_lagged_kf: Array, moments: Moments) -> jax.Array:
    """Rows scaled so that every innovation has variance 1."""
    variance_k = jnp.einsum("kf,fg,kg->k", from_lagged_kf, moments.covariance_ff, from_lagged_kf, precision="highest")
    return from_lagged_kf / jnp.sqrt(variance_k)[:, None]
