"""The parameters: their shapes and, beside each, how it is split over a device mesh."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import PartitionSpec as P

from tcr_jax.config import Activation, Config
from tcr_jax.typing import Array


class Dictionary(struct.PyTreeNode):
    """z = activation(W_enc (x - mean) / scale + b_enc),   x^ = mean + scale (W_dec^T z + b_dec);   see `encode`.

    `x` is a raw activation: the normalisation travels with the dictionary. Rows of `decoder_kd` have unit norm, so
    that one unit of a concept moves x by `scale` in a direction of its own.
    """

    encoder_kd: Array
    decoder_kd: Array
    encoder_bias_k: Array | None
    decoder_bias_d: Array | None
    mean_d: Array  # not trained: mean of the raw activations
    scale: Array  # not trained: root mean square of (x - mean) over channels
    threshold: Array  # not trained: running mean of the cut of `batch_topk`
    activation: Activation = struct.field(pytree_node=False, default="topk")
    topk: int = struct.field(pytree_node=False, default=32)
    corrections: int = struct.field(pytree_node=False, default=0)


class Process(struct.PyTreeNode):
    """z_t = sum_l B_l z_{t-l} + M z_t + intercept + eps_t   (Song et al. 2025, eq. 2; matrices are [target, source]).

    A part that the mode leaves out is None; where the model is a dictionary alone, all are.
    """

    b_lkk: Array | None
    m_kk: Array | None
    intercept_k: Array | None


class Params(struct.PyTreeNode):
    """Everything a saved model needs: it works on raw activations."""

    dictionary: Dictionary
    process: Process


CONSTANTS = ("mean_d", "scale", "threshold")
"""Fields of `Dictionary` that no gradient trains."""


class Leaf(NamedTuple):
    """A parameter before it has values."""

    shape: tuple[int, ...]
    spec: P


def linear_dictionary(
    encoder_kd: Array | np.ndarray, decoder_kd: Array | np.ndarray, mean_d: Array | np.ndarray
) -> Dictionary:
    """z = W_enc (x - mean): nothing switched off, no biases; decoder rows are to have unit norm."""
    return Dictionary(
        encoder_kd=jnp.asarray(encoder_kd, jnp.float32),
        decoder_kd=jnp.asarray(decoder_kd, jnp.float32),
        encoder_bias_k=None,
        decoder_bias_d=None,
        mean_d=jnp.asarray(mean_d, jnp.float32),
        scale=jnp.ones(()),
        threshold=jnp.zeros(()),
        activation="identity",
        topk=len(encoder_kd),
    )


def _leaf(shape: tuple[int, ...], spec: P) -> Any:
    """A `Leaf` that stands where `Params` will hold an array."""
    return Leaf(shape, spec)


def layout(config: Config, width: int) -> Params:
    """Shape and PartitionSpec of every parameter, as a `Params` of `Leaf`.

    The mesh axis `model` splits the latents: the dictionary by rows, B and M by their targets, so that one gathered
    copy of z serves all lags and a prediction comes out split like the dictionary's rows.
    """
    k, d, lags = config.latents, width, config.delays
    return Params(
        dictionary=Dictionary(
            encoder_kd=_leaf((k, d), P("model", None)),
            decoder_kd=_leaf((k, d), P("model", None)),
            encoder_bias_k=_leaf((k,), P("model")) if config.bias else None,
            decoder_bias_d=_leaf((d,), P()) if config.bias else None,
            mean_d=_leaf((d,), P()),
            scale=_leaf((), P()),
            threshold=_leaf((), P()),
            activation=config.activation,
            topk=config.topk,
            corrections=config.corrections,
        ),
        process=Process(
            b_lkk=_leaf((lags, k, k), P(None, "model", None)) if lags else None,
            m_kk=_leaf((k, k), P("model", None)) if config.has_m else None,
            intercept_k=_leaf((k,), P("model")) if config.intercept and config.mode != "dictionary" else None,
        ),
    )


def parameter_count(config: Config, width: int) -> int:
    """Numbers in all parameters together."""
    return sum(jax.tree.leaves(map_layout(lambda leaf: math.prod(leaf.shape), layout(config, width))))


def map_layout(function: Callable[[Leaf], Any], leaves: Params) -> Params:
    """`jax.tree.map` over a `Params` of `Leaf`, each leaf taken whole."""
    return jax.tree.map(function, leaves, is_leaf=lambda node: isinstance(node, Leaf))


def param_specs(config: Config, width: int) -> Params:
    """The `PartitionSpec` of every parameter, in the shape of `Params`.

    >>> import tcr_jax
    >>> tcr_jax.param_specs(tcr_jax.Config(latents=8, topk=2), 4).process.b_lkk
    P(None, 'model', None)
    """
    return map_layout(lambda leaf: leaf.spec, layout(config, width))


def init_params(config: Config, width: int, mean_d: Array, scale: Array, key: jax.Array) -> Params:
    """Random unit decoder directions, an encoder that starts as their transpose, and no relations (B = M = 0).

    Args:
      config: sizes, activation and mode.
      width: d, channels of an activation.
      mean_d: mean raw activation of the store, kept with the parameters.
      scale: root mean square of `x - mean` over channels, kept with the parameters.
      key: random key of the directions.

    >>> import jax, jax.numpy as jnp, tcr_jax
    >>> params = tcr_jax.init_params(tcr_jax.Config(latents=8, topk=2, lags=3), 4, jnp.zeros(4), 1.0, jax.random.key(0))
    >>> jax.tree.map(jnp.shape, params.process)
    Process(b_lkk=(3, 8, 8), m_kk=(8, 8), intercept_k=(8,))
    """
    params: Params = map_layout(lambda leaf: jnp.zeros(leaf.shape), layout(config, width))
    direction_kd = jax.random.normal(key, (config.latents, width))
    direction_kd /= jnp.linalg.norm(direction_kd, axis=-1, keepdims=True)
    dictionary = params.dictionary.replace(
        encoder_kd=jnp.copy(direction_kd),
        decoder_kd=direction_kd,
        mean_d=jnp.asarray(mean_d, jnp.float32),
        scale=jnp.asarray(scale, jnp.float32),
    )
    return params.replace(dictionary=dictionary)
