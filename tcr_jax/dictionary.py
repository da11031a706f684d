"""The dictionary: raw activations to sparse concepts and back."""

from collections.abc import Callable
from typing import get_args

import jax
import jax.numpy as jnp

from tcr_jax.config import Activation
from tcr_jax.params import Dictionary
from tcr_jax.typing import Array


def preactivate(dictionary: Dictionary, x_btd: Array) -> jax.Array:
    """y = W_enc (x - mean) / scale + b_enc, before any latent is switched off.

    Args:
      dictionary: weights; the matrix product runs in their dtype and accumulates in float32.
      x_btd: raw activations [..., d].

    Returns:
      y_btk, float32 [..., k].
    """
    x_btd = (jnp.asarray(x_btd, jnp.float32) - dictionary.mean_d) / dictionary.scale
    y_btk = jnp.einsum(
        "...d,kd->...k",
        x_btd.astype(dictionary.encoder_kd.dtype),
        dictionary.encoder_kd,
        preferred_element_type=jnp.float32,
    )
    return y_btk if dictionary.encoder_bias_k is None else y_btk + dictionary.encoder_bias_k


def activate(dictionary: Dictionary, y_btk: Array) -> jax.Array:
    """Keeps the latents that the dictionary's activation lets through, and sets the others to exactly zero.

    `identity` keeps all; `relu` the positive; `topk` the `topk` largest |y| of each token, with their sign;
    `relu_topk` the largest positive ones (Gao et al. 2024, arXiv 2406.04093); `batch_topk` the positive ones above the
    dictionary's threshold (Bussmann et al. 2024, arXiv 2412.06410; see `batch_threshold`).

    >>> import jax.numpy as jnp, tcr_jax
    >>> params = tcr_jax.init_params(tcr_jax.Config(latents=4, topk=2), 3, jnp.zeros(3), 1.0, jax.random.key(0))
    >>> activate(params.dictionary, jnp.array([1.0, -5.0, 2.0, 0.5])).tolist()
    [0.0, -5.0, 2.0, 0.0]
    """
    y_btk = jnp.asarray(y_btk)
    match dictionary.activation:
        case "identity":
            return y_btk
        case "relu":
            return jax.nn.relu(y_btk)
        case "topk":
            return jnp.where(_largest(jnp.abs(y_btk), dictionary.topk), y_btk, 0)
        case "relu_topk":
            y_btk = jax.nn.relu(y_btk)
            return jnp.where(_largest(y_btk, dictionary.topk), y_btk, 0)
        case "batch_topk":
            return jnp.where(y_btk > dictionary.threshold, y_btk, 0)
        case unknown:
            raise ValueError(f"activation={unknown!r} is unknown; choose one of {', '.join(get_args(Activation))}")


def correct(dictionary: Dictionary, x_btd: Array, z_btk: Array) -> jax.Array:
    """y = z + W_enc (x - x^) / scale: pre-activations that take what the code z leaves of x into account.

    A step of iterative hard thresholding (Blumensath and Davies 2009, arXiv 0805.0510) whose matrices are learned
    (Gregor and LeCun 2010, ICML): latents that explain the same part of x no longer fire together.

    >>> import jax.numpy as jnp, tcr_jax
    >>> params = tcr_jax.init_params(tcr_jax.Config(latents=4, topk=2), 3, jnp.zeros(3), 1.0, jax.random.key(0))
    >>> z_k = jnp.array([0.0, 2.0, 0.0, -1.0])
    >>> bool(jnp.allclose(correct(params.dictionary, decode(params.dictionary, z_k), z_k), z_k))  # nothing is left
    True
    """
    left_btd = (jnp.asarray(x_btd, jnp.float32) - decode(dictionary, z_btk)) / dictionary.scale
    encoder_kd = dictionary.encoder_kd
    change_btk = jnp.einsum(
        "...d,kd->...k", left_btd.astype(encoder_kd.dtype), encoder_kd, preferred_element_type=jnp.float32
    )
    return z_btk + change_btk


def encode(dictionary: Dictionary, x_btd: Array, gather: Callable[[jax.Array], jax.Array] = lambda y: y) -> jax.Array:
    """z = activation(W_enc (x - mean) / scale + b_enc), then as many times as the dictionary's `corrections`

        z <- activation(z + W_enc (x - x^) / scale),   x^ of z.

    Args:
      dictionary: carries its own normalisation, activation, topk and corrections.
      x_btd: raw activations [..., d], any float dtype.
      gather: where devices share the latents, brings each token's together for the activation.

    Returns:
      z_btk, float32 [..., k].

    >>> import jax.numpy as jnp, tcr_jax
    >>> config = tcr_jax.Config(latents=8, topk=2)
    >>> params = tcr_jax.init_params(config, 3, jnp.zeros(3), 1.0, jax.random.key(0))
    >>> z_tk = tcr_jax.encode(params.dictionary, jnp.ones((5, 3)))
    >>> z_tk.shape, int((z_tk[0] != 0).sum())
    ((5, 8), 2)
    """
    z_btk = activate(dictionary, gather(preactivate(dictionary, x_btd)))
    for _ in range(dictionary.corrections):
        z_btk = activate(dictionary, gather(correct(dictionary, x_btd, z_btk)))
    return z_btk


def decode(dictionary: Dictionary, z_btk: Array) -> jax.Array:
    """x^ = mean + scale (W_dec^T z + b_dec), the raw activation that concepts z stand for.

    Args:
      dictionary: its rows `decoder_kd` have unit norm.
      z_btk: concepts [..., k].

    Returns:
      x_btd, float32 [..., d].

    >>> import jax.numpy as jnp, tcr_jax
    >>> params = tcr_jax.init_params(tcr_jax.Config(latents=8, topk=2), 3, jnp.ones(3), 2.0, jax.random.key(0))
    >>> tcr_jax.decode(params.dictionary, jnp.zeros(8)).tolist()
    [1.0, 1.0, 1.0]
    """
    x_btd = jnp.einsum(
        "...k,kd->...d",
        jnp.asarray(z_btk).astype(dictionary.decoder_kd.dtype),
        dictionary.decoder_kd,
        preferred_element_type=jnp.float32,
    )
    if dictionary.decoder_bias_d is not None:
        x_btd += dictionary.decoder_bias_d
    return x_btd * dictionary.scale + dictionary.mean_d


def batch_threshold(y_btk: Array, kept_bt: Array, topk: int, iterations: int = 40) -> jax.Array:
    """The cut above which `topk` latents a kept token are positive on average: what `batch_topk` trains with.

    Found by bisection on the count, which stays a sum over devices where sorting would gather the whole batch.
    """
    y_btk = jnp.where(kept_bt[..., None], jax.lax.stop_gradient(y_btk), 0)
    wanted = topk * kept_bt.sum()

    def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bracket
        middle = (low + high) / 2
        too_many = (y_btk > middle).sum() > wanted
        return jnp.where(too_many, middle, low), jnp.where(too_many, high, middle)

    start = (jnp.zeros(()), jnp.maximum(y_btk.max(), 0))
    return jax.lax.fori_loop(0, iterations, halve, start)[1]


def _largest(magnitude_btk: jax.Array, count: int) -> jax.Array:
    """True at the `count` largest entries of the last axis (more only where entries tie), none of them negative.

    The bits of floats that are not negative order as the floats do: the cut is found bit by bit from the top, as the
    largest at which `count` entries remain. Unlike `lax.top_k` this needs no whole batch on any device of a mesh.
    """
    bits_btk = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(magnitude_btk), jnp.int32)

    def set_bit(place: int, cut_bt: jax.Array) -> jax.Array:
        higher_bt = cut_bt | (1 << (30 - place))
        enough_bt = (bits_btk >= higher_bt[..., None]).sum(axis=-1) >= count
        return jnp.where(enough_bt, higher_bt, cut_bt)

    cut_bt = jax.lax.fori_loop(0, 31, set_bit, jnp.zeros(bits_btk.shape[:-1], jnp.int32))
    return bits_btk >= cut_bt[..., None]
