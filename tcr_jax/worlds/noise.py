"""Families of innovations, each of zero mean and unit variance."""

import math

import jax
import jax.numpy as jnp

from tcr_jax.worlds.config import WorldConfig


def draw_noise(config: WorldConfig, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Independent draws of the configured family, before any scale, float32."""
    match config.noise:
        case "laplace":
            return jax.random.laplace(key, shape) / math.sqrt(2)
        case "generalised":
            p = config.exponent
            return jax.random.generalized_normal(key, p, shape) * math.sqrt(math.gamma(1 / p) / math.gamma(3 / p))
        case "student":
            return jax.random.t(key, config.degrees, shape) * math.sqrt(1 - 2 / config.degrees)
        case _:
            return jax.random.normal(key, shape)


def drift(amplitude: float, scale_k: jax.Array, document: jax.Array, phase_k: jax.Array) -> jax.Array:
    """Scales in a document: their logs swing by `amplitude`, once in 256 documents, each concept at its own phase."""
    return scale_k * jnp.exp(amplitude * jnp.sin(2 * jnp.pi * document / 256 + phase_k))
