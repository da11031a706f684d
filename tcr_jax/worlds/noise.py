"""Families of innovations, each symmetric, of zero mean and unit variance."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gamma, gammainccinv, ndtri, stdtrit

from tcr_jax.worlds.config import WorldConfig

LARGEST, STEPS = 20.0, 4000  # float32 draws no exponential over 17


def draw_noise(config: WorldConfig, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Independent draws of the configured family, before any scale, float32.

    The size of a Laplace draw is exponential; it is mapped to the size of the same rank in the other family. That takes
    a table where drawing Gamma variables by rejection takes seventy times as long.
    """
    laplace = jax.random.laplace(key, shape)
    if config.noise == "laplace":
        return laplace * 0.5**0.5
    table = jnp.asarray(_sizes(config), jnp.float32)
    place = jnp.abs(laplace) * (STEPS / LARGEST)
    lower = jnp.minimum(place.astype(int), STEPS - 1)
    size = table[lower] + (place - lower) * (table[lower + 1] - table[lower])
    return jnp.sign(laplace) * size


def _sizes(config: WorldConfig) -> np.ndarray:
    """|eps| that is exceeded with probability exp(-e), for `STEPS` + 1 even steps of e from 0 to `LARGEST`."""
    exceeded = np.exp(-np.linspace(0, LARGEST, STEPS + 1))
    match config.noise:
        case "generalised":
            p = config.exponent
            return gammainccinv(1 / p, exceeded) ** (1 / p) * np.sqrt(gamma(1 / p) / gamma(3 / p))
        case "student":
            return -stdtrit(config.degrees, exceeded / 2) * np.sqrt(1 - 2 / config.degrees)
        case _:
            return -ndtri(exceeded / 2)


def drift(amplitude: float, scale_k: jax.Array, document: jax.Array, phase_k: jax.Array) -> jax.Array:
    """Scales in a document: their logs swing by `amplitude`, once in 256 documents, each concept at its own phase."""
    return scale_k * jnp.exp(amplitude * jnp.sin(2 * jnp.pi * document / 256 + phase_k))
