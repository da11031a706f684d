"""The dictionary: what each activation lets through, and the normalisation that travels with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Config, decode, encode, init_params
from tcr_jax.dictionary import activate, batch_threshold

RNG = np.random.default_rng(0)
X_BTD = RNG.normal(loc=3.0, scale=2.0, size=(2, 5, 6)).astype(np.float32)


def dictionary(activation: str, **values):
    config = Config(latents=12, topk=4, activation=activation, **values)
    mean_d = jnp.asarray(X_BTD.mean(axis=(0, 1)))
    return init_params(config, 6, mean_d, jnp.float32(2.0), jax.random.key(1)).dictionary


def test_encode_is_its_equation() -> None:
    """z = W_enc (x - mean) / scale + b_enc where nothing is switched off."""
    d = dictionary("identity")
    d = d.replace(encoder_bias_k=jnp.arange(12.0))
    expected = (X_BTD - d.mean_d) / d.scale @ np.asarray(d.encoder_kd).T + np.arange(12)
    np.testing.assert_allclose(encode(d, X_BTD), expected, atol=1e-5)


def test_decode_is_its_equation() -> None:
    """x^ = mean + scale (W_dec^T z + b_dec)."""
    d = dictionary("identity").replace(decoder_bias_d=jnp.arange(6.0))
    z_btk = RNG.normal(size=(2, 5, 12)).astype(np.float32)
    np.testing.assert_allclose(decode(d, z_btk), d.mean_d + 2 * (z_btk @ d.decoder_kd + np.arange(6)), atol=1e-4)


def test_topk_keeps_the_largest_magnitudes_with_their_sign() -> None:
    """Exactly `topk` latents fire, and they are the largest |y|."""
    y_btk = RNG.normal(size=(2, 5, 12)).astype(np.float32)
    z_btk = np.asarray(activate(dictionary("topk"), y_btk))
    assert ((z_btk != 0).sum(-1) == 4).all()
    for y_k, z_k in zip(y_btk.reshape(-1, 12), z_btk.reshape(-1, 12), strict=True):
        largest = np.argsort(-np.abs(y_k))[:4]
        np.testing.assert_array_equal(z_k[largest], y_k[largest])


def test_relu_topk_keeps_the_largest_positive_ones() -> None:
    """No negative code, at most `topk` a token, and they are the largest."""
    y_btk = RNG.normal(size=(2, 5, 12)).astype(np.float32)
    z_btk = np.asarray(activate(dictionary("relu_topk"), y_btk))
    expected = np.where(y_btk >= np.sort(y_btk)[..., -4:-3], np.maximum(y_btk, 0), 0)
    np.testing.assert_array_equal(z_btk, expected)


def test_batch_topk_spends_its_budget_over_the_batch() -> None:
    """The threshold lets `topk` latents a kept token through on average, and dropped tokens have no say."""
    y_btk = jnp.asarray(RNG.normal(size=(8, 16, 12)), jnp.float32)
    kept_bt = jnp.ones((8, 16), bool).at[:, 8:].set(False)
    threshold = batch_threshold(y_btk.at[:, 8:].multiply(100), kept_bt, topk=4)
    z_btk = activate(dictionary("batch_topk").replace(threshold=threshold), y_btk)
    assert int((z_btk[:, :8] != 0).sum()) == 4 * 8 * 8


def test_batch_topk_with_too_few_positive_latents_keeps_them_all() -> None:
    """Where fewer are positive than the budget allows, the threshold is zero."""
    y_btk = -jnp.ones((2, 3, 12)).at[0, 0, 0].set(-1.0)
    threshold = batch_threshold(y_btk, jnp.ones((2, 3), bool), topk=4)
    assert float(threshold) < 1e-6


def test_corrections_are_their_equation() -> None:
    """Each adds what the encoder makes of the part of x that is left, and switches off again."""
    d = dictionary("topk", corrections=2)
    d = d.replace(encoder_bias_k=jnp.linspace(-1, 1, 12), decoder_bias_d=jnp.arange(6.0))
    z_btk = np.asarray(encode(d.replace(corrections=0), X_BTD))
    for _ in range(2):
        left_btd = (X_BTD - np.asarray(decode(d, z_btk))) / np.asarray(d.scale)
        z_btk = np.asarray(activate(d, z_btk + left_btd @ np.asarray(d.encoder_kd).T))
    np.testing.assert_allclose(encode(d, X_BTD), z_btk, atol=1e-4)


def test_corrections_take_what_is_left_away() -> None:
    """With orthogonal atoms one pass is exact, and stays; with atoms alike, corrections remove what counts twice."""
    d = dictionary("topk", bias=False).replace(scale=jnp.ones(()), mean_d=jnp.zeros(6), topk=2)
    alike_kd = jnp.zeros((12, 6)).at[0, 0].set(1.0).at[1].set(jnp.array([0.6, 0.8, 0, 0, 0, 0]))
    d = d.replace(encoder_kd=alike_kd, decoder_kd=alike_kd)
    x_d = decode(d, jnp.zeros(12).at[0].set(2.0).at[1].set(1.0))
    left = [float(jnp.square(x_d - decode(d, encode(d.replace(corrections=c), x_d))).sum()) for c in (0, 1, 2, 60)]
    assert left == sorted(left, reverse=True) and left[1] < 0.5 * left[0] and left[-1] < 1e-6
    exact_kd = jnp.zeros((12, 6)).at[:6].set(jnp.eye(6))
    d = d.replace(encoder_kd=exact_kd, decoder_kd=exact_kd)
    np.testing.assert_array_equal(encode(d.replace(corrections=3), x_d), encode(d, x_d))


def test_biases_are_optional() -> None:
    """Without biases, the mean activation has the code zero and decodes to itself."""
    d = dictionary("topk", bias=False)
    z_k = encode(d, d.mean_d)
    assert not z_k.any()
    np.testing.assert_allclose(decode(d, z_k), d.mean_d)


@pytest.mark.parametrize("activation", ["topk", "relu_topk", "relu"])
def test_gradient_reaches_only_what_fires(activation: str) -> None:
    """dz/dy is 1 where a latent fires and 0 where it does not."""
    y_k = jnp.asarray(RNG.normal(size=12), jnp.float32)
    d = dictionary(activation)
    gradient_k = jax.grad(lambda y: activate(d, y).sum())(y_k)
    np.testing.assert_array_equal(gradient_k, activate(d, y_k) != 0)
