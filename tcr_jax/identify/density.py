"""Score functions phi = -(log p)' of innovations, fitted to each component's own distribution."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tcr_jax.typing import Array

RIDGE = 1e-5
"""Keeps the fit defined where two functions of the basis nearly coincide on the data."""


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


class Overlaps(NamedTuple):
    """Sums over tokens: all that a fit of the scores needs."""

    product_kmm: jax.Array  # h_m h_n
    slope_km: jax.Array  # h_m'


def overlaps(function_m: list[tuple[jax.Array, jax.Array]]) -> Overlaps:
    """Of the basis on a batch, [n, k] each."""
    row_m = [jnp.stack([(h_nk * g_nk).sum(axis=0) for g_nk, _ in function_m], axis=-1) for h_nk, _ in function_m]
    return Overlaps(jnp.stack(row_m, axis=-1), jnp.stack([slope_nk.sum(axis=0) for _, slope_nk in function_m], axis=-1))


@jax.jit
def fit_scores(y_nk: Array) -> Scores:
    """Of these innovations, see `scores_from`."""
    return scores_from(overlaps(basis(jnp.asarray(y_nk))), len(y_nk))


@jax.jit
def scores_from(sums: Overlaps, count: Array | float) -> Scores:
    """Score matching in the span of the basis, on centred innovations of unit variance.

    The phi of least E[(phi - phi_true)^2] = E[phi^2] - 2 E[phi'] + const.
    As y itself is in the basis, E[phi(y) y] = 1 and E[phi^2] = E[phi'] hold on the data fitted to, up to the ridge.
    The fit's noise is some 50 / count of information: where innovations are nearly Gaussian, and have little more of it
    than 1, scores that were fitted to a part of the tokens lead the unmixing astray.
    Source: Hyvarinen 2005, "Estimation of non-normalized statistical models by score matching"; Pham and Garat 1997.
    """
    product_kmm = sums.product_kmm / count + RIDGE * jnp.eye(sums.slope_km.shape[-1])
    return Scores(jnp.linalg.solve(product_kmm, (sums.slope_km / count)[..., None])[..., 0].T)


def score(scores: Scores, function_m: list[tuple[jax.Array, jax.Array]]) -> tuple[jax.Array, jax.Array]:
    """phi_i(y_i) and phi_i'(y_i) from the basis at y."""
    value_nk = slope_nk = jnp.zeros_like(function_m[0][0])
    for weight_k, (h_nk, dh_nk) in zip(scores.weight_mk, function_m, strict=True):
        value_nk, slope_nk = value_nk + weight_k * h_nk, slope_nk + weight_k * dh_nk
    return value_nk, slope_nk
