"""How far from Gaussian an output is, and how far it may seem to be by chance."""

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.fixed_point import SLOPE
from tcr_jax.identify.parts import average
from tcr_jax.typing import Array

_NODE_Q, _WEIGHT_Q = np.polynomial.hermite_e.hermegauss(60)
_WEIGHT_Q = _WEIGHT_Q / _WEIGHT_Q.sum()
_VALUE_Q = np.log(np.cosh(SLOPE * _NODE_Q))

GAUSSIAN = float(_WEIGHT_Q @ _VALUE_Q)
"""E[log cosh(SLOPE y)] of a standard Gaussian."""


def _deviation() -> float:
    """Of log cosh(SLOPE y), y standard Gaussian, beyond what 1 and y^2 explain: whitening holds these still."""
    second_q = (np.square(_NODE_Q) - 1) / np.sqrt(2)
    rest_q = _VALUE_Q - GAUSSIAN - (_WEIGHT_Q @ (_VALUE_Q * second_q)) * second_q
    return float(np.sqrt(_WEIGHT_Q @ np.square(rest_q)))


DEVIATION = _deviation()


@jax.jit
def negentropies(direction_mk: Array, residual_nk: Array) -> jax.Array:
    """E[log cosh(SLOPE y)] of every output less the same of a Gaussian: below zero where it has heavy tails."""

    def mean_m(residual_nk: jax.Array) -> jax.Array:
        output_nm = jnp.matmul(residual_nk, direction_mk.T, precision="highest")
        return jnp.log(jnp.cosh(SLOPE * output_nm)).mean(axis=0)

    return average(mean_m, residual_nk) - GAUSSIAN


def by_chance(tokens: int, components: int) -> float:
    """What the best direction reaches in as many Gaussian residuals, in absolute value: 2 DEVIATION sqrt(k / n).

    Measured 1.96 to 2.0 at k = 512 and n / k = 64 and 146; the maximum of a random quartic form on the sphere has 1.79
    in place of 2 (Auffinger, Ben Arous and Cerny 2013, "Random matrices and complexity of spin glasses").
    """
    return 2 * DEVIATION * float(np.sqrt(components / tokens))
