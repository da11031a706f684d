"""The vector autoregression of white activations: what the past predicts of a token, taken away."""

import jax
import jax.numpy as jnp

from tcr_jax.identify.moments import Moments


@jax.jit
def whitening_regression(moments: Moments) -> jax.Array:
    """The [k, (l + 1) k] matrix that turns f = [w_t, .., w_{t-l}], less its mean, into white residuals.

    Least squares, w_t = sum_l Phi_l w_{t-l} + r_t, then S^{-1} r with the Cholesky factor S of cov(r): uncorrelated
    with the past, and of unit covariance. NaN where the past's covariance is singular.
    """
    covariance_ff, k = moments.covariance_ff, moments.latents
    present_kk, cross_kp, past_pp = covariance_ff[:k, :k], covariance_ff[:k, k:], covariance_ff[k:, k:]
    with jax.default_matmul_precision("highest"):
        factor = jax.scipy.linalg.cho_factor(past_pp)
        phi_pk = jax.scipy.linalg.cho_solve(factor, cross_kp.T)
        phi_pk += jax.scipy.linalg.cho_solve(factor, cross_kp.T - past_pp @ phi_pk)  # float32: solved once more
        residual_kk = present_kk - cross_kp @ phi_pk
        lower_kk = jnp.linalg.cholesky((residual_kk + residual_kk.T) / 2)
        predict_kf = jnp.concatenate([jnp.eye(k), -phi_pk.T], axis=1)
        return jax.scipy.linalg.solve_triangular(lower_kk, predict_kf, lower=True)
