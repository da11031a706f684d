"""Weights of sae-lens, read as a dictionary of ours: the same code and the same reconstruction."""

import numpy as np
import pytest

from experiments.peers.sae_lens_weights import as_dictionary
from tcr_jax import decode, encode

D, K, TOPK = 6, 20, 4
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("architecture", ["standard", "topk", "batchtopk"])
def test_reconstructions_are_those_of_sae_lens(architecture: str, applied: bool) -> None:
    """u^ = f((u - b_dec) W_enc + b_enc) W_dec + b_dec in units of (x - mean) / scale; ours in those of x."""
    decoder_kd = RNG.normal(size=(K, D))
    if architecture != "standard":  # saved with unit rows
        decoder_kd /= np.linalg.norm(decoder_kd, axis=1, keepdims=True)
    weights = {
        "W_enc": RNG.normal(size=(D, K)),
        "W_dec": decoder_kd,
        "b_enc": RNG.normal(size=K),
        "b_dec": RNG.normal(size=D),
        "applied": np.array(applied),
    }
    if architecture == "batchtopk":
        weights["threshold"] = np.full(K, 0.7)
    mean_d, scale, x_nd = RNG.normal(size=D), 2.5, RNG.normal(size=(30, D))
    u_nd = (x_nd - mean_d) / scale
    y_nk = (u_nd - applied * weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    z_nk = np.maximum(y_nk, 0)
    if architecture == "topk":
        z_nk = np.where(y_nk >= np.sort(y_nk)[:, -TOPK][:, None], z_nk, 0)
    if architecture == "batchtopk":
        z_nk = np.where(y_nk > 0.7, y_nk, 0)
    expected = mean_d + scale * (z_nk @ decoder_kd + weights["b_dec"])
    dictionary = as_dictionary(weights, architecture, TOPK, mean_d, scale)
    found = encode(dictionary, x_nd)
    np.testing.assert_allclose(decode(dictionary, found), expected, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(found) > 0, z_nk > 0)
