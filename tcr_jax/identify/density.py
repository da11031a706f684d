"""Score functions phi = -(log p)' of innovations, fitted to each component's own distribution."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tcr_jax.typing import Array

RIDGE = 1e-5
"""Keeps the fit defined where two functions of the basis nearly coincide on the data."""

FITTED = 2**15
"""Tokens that are enough to fit score functions to."""


class Scores(NamedTuple):
    """phi_i(y) = sum_m weight_mi h_m(y).

    Its mean slope E[phi_i'(y)] estimates Fisher's information of the location: 1 for a Gaussian of unit variance, and
    more for every other distribution; Laplace has 2.
    """

    weight_mk: jax.Array


def basis(y: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """(h_m(y), h_m'(y)): the Gaussian's score, a soft and a sharp sign, and one that lets go of outliers."""
    soft, sharp, bell = jnp.tanh(y), jnp.tanh(5 * y), 1 / (1 + jnp.square(y))
    return [
        (y, jnp.ones_like(y)),
        (soft, 1 - jnp.square(soft)),
        (sharp, 5 * (1 - jnp.square(sharp))),
        (y * bell, (1 - jnp.square(y)) * jnp.square(bell)),
    ]


@jax.jit
def fit_scores(y_nk: Array) -> Scores:
    """Score matching in the span of the basis, on centred innovations of unit variance.

    The phi of least E[(phi - phi_true)^2] = E[phi^2] - 2 E[phi'] + const.
    As y itself is in the basis, E[phi(y) y] = 1 and E[phi^2] = E[phi'] hold on the data fitted to, up to the ridge.
    Source: Hyvarinen 2005, "Estimation of non-normalized statistical models by score matching"; Pham and Garat 1997.
    """
    functions = basis(y_nk)
    slope_km = jnp.stack([slope_nk.mean(axis=0) for _, slope_nk in functions], axis=-1)
    rows = [jnp.stack([(h_nk * g_nk).mean(axis=0) for g_nk, _ in functions], axis=-1) for h_nk, _ in functions]
    product_kmm = jnp.stack(rows, axis=-1) + RIDGE * jnp.eye(len(functions))
    return Scores(jnp.linalg.solve(product_kmm, slope_km[..., None])[..., 0].T)


def score(scores: Scores, y_nk: Array) -> tuple[jax.Array, jax.Array]:
    """phi_i(y_i) and phi_i'(y_i)."""
    value_nk = slope_nk = jnp.zeros_like(y_nk)
    for weight_k, (h_nk, dh_nk) in zip(scores.weight_mk, basis(y_nk), strict=True):
        value_nk, slope_nk = value_nk + weight_k * h_nk, slope_nk + weight_k * dh_nk
    return value_nk, slope_nk
