"""The quadricovariance of residuals: a first look at where their independent components point.

    C(N) = E[(r^T N r - tr N) (r r^T - I)],   symmetric N

For white independent components along the orthonormal a_i, of excess kurtosis kappa_i, C(N) = 2 N + sum_i kappa_i
(a_i^T N a_i) a_i a_i^T: its leading eigenmatrices lie in the span of the a_i a_i^T, and their eigenvectors are the a_i.
In a sample they rise above the noise from some n = 2 k^2 / kappa^2 tokens on (Baik, Ben Arous and Peche 2005), where a
random rotation is so far from every component that the fixed-point iteration wanders for ever.
Source: Cardoso 1990, "Eigen-structure of the fourth-order cumulant tensor with application to the blind source
separation problem".
"""

import functools

import jax
import jax.numpy as jnp

from tcr_jax.identify.parts import average
from tcr_jax.typing import Array

PRODUCTS = 8
"""C is applied so often: a product costs as much as one iteration of FastICA."""


@functools.partial(jax.jit, static_argnames="products")
def leading_rotation(residual_nk: Array, key: jax.Array, products: int = PRODUCTS) -> jax.Array:
    """Eigenvectors of an approximate leading eigenmatrix of C: Lanczos's method from a random matrix.

    They are the rows, the most prominent first.
    """
    residual_nk = jnp.asarray(residual_nk)
    k = residual_nk.shape[1]
    start_kk = jax.random.normal(key, (k, k))
    start_kk += start_kk.T
    basis_pkk = jnp.zeros((products, k, k)).at[0].set(start_kk / jnp.linalg.norm(start_kk))

    def step(basis_pkk: jax.Array, p: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        image_kk = _apply(residual_nk, covariance_kk, basis_pkk[p])
        along = jnp.vdot(image_kk, basis_pkk[p])
        for _ in range(2):  # once leaves rounding errors that grow
            image_kk -= jnp.tensordot(jnp.tensordot(basis_pkk, image_kk, 2), basis_pkk, 1)
        beyond = jnp.linalg.norm(image_kk)
        exhausted = beyond <= 1e-3 * jnp.abs(along)  # fewer matrices than products: k is tiny
        beyond = jnp.where(exhausted, 0, beyond)
        next_kk = jnp.where(exhausted, 0, image_kk / jnp.where(exhausted, 1, beyond))
        return basis_pkk.at[p + 1].set(next_kk, mode="drop"), (along, beyond)

    with jax.default_matmul_precision("highest"):
        covariance_kk = average(_covariance, residual_nk)
        basis_pkk, (along_p, beyond_p) = jax.lax.scan(step, basis_pkk, jnp.arange(products))
        tridiagonal_pp = jnp.diag(along_p) + jnp.diag(beyond_p[:-1], 1) + jnp.diag(beyond_p[:-1], -1)
        leading_p = jnp.linalg.eigh(tridiagonal_pp)[1][:, -1]
        value_k, vector_kk = jnp.linalg.eigh(jnp.tensordot(leading_p, basis_pkk, 1))
        return vector_kk.T[jnp.argsort(-jnp.abs(value_k))]


def _apply(residual_nk: jax.Array, covariance_kk: jax.Array, matrix_kk: jax.Array) -> jax.Array:
    """C(N) of the sample, up to a multiple of the identity."""

    def product_kk(residual_nk: jax.Array) -> jax.Array:
        near_nk = _near(residual_nk)
        form_n = jnp.sum((near_nk @ matrix_kk) * near_nk, axis=1) - jnp.vdot(covariance_kk, matrix_kk)
        return (near_nk * form_n[:, None]).T @ near_nk / len(near_nk)

    image_kk = average(product_kk, residual_nk)
    image_kk = (image_kk + image_kk.T) / 2
    return image_kk - jnp.trace(image_kk) / len(image_kk) * jnp.eye(len(image_kk))


def _covariance(residual_nk: jax.Array) -> jax.Array:
    near_nk = _near(residual_nk)
    return near_nk.T @ near_nk / len(near_nk)


def _near(residual_nk: jax.Array) -> jax.Array:
    """Tokens far out drawn in, so that heavy tails do not decide alone."""
    far_n1 = jnp.linalg.norm(residual_nk, axis=1, keepdims=True) / jnp.sqrt(2.0 * residual_nk.shape[1])
    return residual_nk / jnp.maximum(far_n1, 1)
