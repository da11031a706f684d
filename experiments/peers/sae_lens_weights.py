"""Weights that sae-lens trained, as a dictionary of ours."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from tcr_jax.config import Activation
from tcr_jax.params import Dictionary

ACTIVATION: dict[str, Activation] = {"standard": "relu", "topk": "relu_topk", "batchtopk": "batch_topk"}


def as_dictionary(weights: dict[str, np.ndarray], architecture: str, topk: int, mean_d: Any, scale: Any) -> Dictionary:
    """sae-lens's saved weights, trained on (x - mean) / scale, as a dictionary of ours.

        sae-lens: z' = f((u - b_dec) W_enc + b_enc),  u^ = z' W_dec + b_dec;   ours has rows of unit norm n, z = n z'

    A saved TopK or BatchTopK has such rows already; f of a ReLU scales with its argument.
    """
    norm_k = np.linalg.norm(weights["W_dec"], axis=1)
    bias_k = weights["b_enc"] - weights["applied"] * (weights["b_dec"] @ weights["W_enc"])
    return Dictionary(
        encoder_kd=jnp.asarray((weights["W_enc"] * norm_k).T),
        decoder_kd=jnp.asarray(weights["W_dec"] / norm_k[:, None]),
        encoder_bias_k=jnp.asarray(bias_k * norm_k),
        decoder_bias_d=jnp.asarray(weights["b_dec"]),
        mean_d=jnp.asarray(mean_d, jnp.float32),
        scale=jnp.asarray(scale, jnp.float32),
        threshold=jnp.asarray(weights["threshold"].max() if "threshold" in weights else 0.0, jnp.float32),
        activation=ACTIVATION[architecture],
        topk=topk,
    )
