"""The objective: each term is its equation, masks hold, and no term depends on the number of latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Config, init_params
from tcr_jax.objective import code, edge_weight, forward, innovation, objective, reconstruction, revival, sparsity

K, D, T = 12, 6, 10
RNG = np.random.default_rng(0)
X_BTD = RNG.normal(size=(3, T, D)).astype(np.float32)
DOCUMENT_BT = np.zeros((3, T), np.int32)
DOCUMENT_BT[1, 4:6] = -1
DOCUMENT_BT[2, 7:] = 1
KEY = jax.random.key(3)


def random_params(config: Config):
    params = init_params(config, D, jnp.zeros(D), jnp.float32(1.5), jax.random.key(0))
    k = config.latents
    b_lkk = jnp.float32(0.2 * RNG.normal(size=(config.delays, k, k)))
    m_kk = jnp.float32(0.2 * np.tril(RNG.normal(size=(k, k)), -1))
    return params.replace(process=params.process.replace(b_lkk=b_lkk, m_kk=m_kk))


def terms_of(params, config: Config, x_btd=X_BTD, document_bt=DOCUMENT_BT):
    k = config.latents
    return objective(params, x_btd, document_bt, config, edge_weight(None, k, D), jnp.zeros(k), KEY)


def test_terms_are_their_equations() -> None:
    """Reconstruction and both innovation losses, by hand, over kept and over scored tokens only."""
    config = Config(latents=K, topk=4, lags=2)
    params = random_params(config)
    out = forward(params, X_BTD, DOCUMENT_BT)
    kept_bt = DOCUMENT_BT >= 0
    scored_bt = np.array(
        [[t >= 2 and (row[t - 2 : t + 1] == row[t]).all() and row[t] >= 0 for t in range(T)] for row in DOCUMENT_BT]
    )
    np.testing.assert_array_equal(out.scored_bt, scored_bt)
    error_bt = np.square((X_BTD - out.reconstruction_btd) / 1.5).mean(-1)
    np.testing.assert_allclose(reconstruction(out, params.dictionary.scale), error_bt[kept_bt].mean(), rtol=1e-5)
    eps = np.asarray(out.eps_btk)[scored_bt]
    np.testing.assert_allclose(innovation(out, "squared"), np.square(eps).sum(-1).mean() / D, rtol=1e-5)
    np.testing.assert_allclose(innovation(out, "laplace"), np.abs(eps).sum(-1).mean() / D, rtol=1e-5)
    np.testing.assert_allclose(code(out), np.abs(out.z_btk)[kept_bt].sum(-1).mean() / D, rtol=1e-5)


def test_total_is_the_weighted_sum() -> None:
    """L without its L1 part is the sum of the reported terms, each with its weight."""
    weights = {"code_l1": 0.3, "innovation_weight": 0.7, "acyclicity_weight": 3.0, "revival_weight": 0.1}
    config = Config(latents=K, topk=4, lags=2, **weights)
    total, (terms, _) = terms_of(random_params(config), config)
    expected = (
        terms.reconstruction + 0.3 * terms.code + 0.7 * terms.innovation + 3.0 * terms.acyclicity + 0.1 * terms.revival
    )
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_constants_get_no_gradient() -> None:
    """Mean, scale and threshold are not trained: they add nothing to the norm that gradients are clipped at."""
    config = Config(latents=K, topk=4, lags=2, activation="batch_topk")
    gradient = jax.grad(lambda p: terms_of(p, config)[0])(random_params(config)).dictionary
    assert not any(np.any(constant) for constant in (gradient.mean_d, gradient.scale, gradient.threshold))
    assert np.any(gradient.decoder_bias_d)


def test_dropped_positions_have_no_say() -> None:
    """Whatever stands at a dropped position, NaN included, the loss and its gradient stay bit for bit the same."""
    config = Config(latents=K, topk=4, lags=2)
    params = random_params(config)
    gradient = jax.grad(lambda p, x: terms_of(p, config, x)[0])
    poisoned = np.where((DOCUMENT_BT < 0)[..., None], np.nan, X_BTD)
    jax.tree.map(np.testing.assert_array_equal, gradient(params, X_BTD), gradient(params, poisoned))


@pytest.mark.parametrize("kind", ["squared", "laplace"])
def test_no_term_depends_on_the_number_of_latents(kind: str) -> None:
    """Latents that never fire, added to the dictionary, change no term."""
    small = Config(latents=K, activation="relu", lags=2, innovation=kind)
    large = Config(latents=3 * K, activation="relu", lags=2, innovation=kind)
    params = random_params(small)
    grown = init_params(large, D, jnp.zeros(D), jnp.float32(1.5), jax.random.key(1))
    d, p = params.dictionary, params.process
    dictionary = grown.dictionary.replace(
        encoder_kd=grown.dictionary.encoder_kd.at[:K].set(d.encoder_kd),
        decoder_kd=grown.dictionary.decoder_kd.at[:K].set(d.decoder_kd),
        encoder_bias_k=jnp.full(3 * K, -1e6).at[:K].set(d.encoder_bias_k),
    )
    process = grown.process.replace(
        b_lkk=grown.process.b_lkk.at[:, :K, :K].set(p.b_lkk), m_kk=grown.process.m_kk.at[:K, :K].set(p.m_kk)
    )
    grown = grown.replace(dictionary=dictionary, process=process)
    before, after = (terms_of(p, config)[1][0] for p, config in ((params, small), (grown, large)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), before, after)


def test_an_edge_pays_for_itself_above_a_correlation() -> None:
    """At B = 0, where eps = z, the gradient of the innovation term beats the price of an edge exactly where
    |E eps_i z_j| / (rms_i rms_j) > beta / (2 alpha)."""
    config = Config(latents=K, activation="identity", lags=1, mode="temporal", innovation_weight=0.5)
    params = init_params(config, D, jnp.zeros(D), jnp.float32(1.0), jax.random.key(0))
    document_bt = np.zeros((3, T), np.int32)
    gradient_kk = jax.grad(lambda p: terms_of(p, config, X_BTD, document_bt)[0])(params).process.b_lkk[0]
    z_btk = np.asarray(forward(params, X_BTD, document_bt).z_btk, np.float64)
    now, before = z_btk[:, 1:].reshape(-1, K), z_btk[:, :-1].reshape(-1, K)
    rms_now, rms_before = (np.sqrt(np.square(z).mean(0)) for z in (now, before))
    correlation_kk = now.T @ before / len(now) / np.outer(rms_now, rms_before)
    beta = 0.2
    price_kk = beta * np.outer(rms_now, rms_before) / D
    np.testing.assert_array_equal(
        np.abs(gradient_kk) > price_kk, np.abs(correlation_kk) > beta / (2 * config.innovation_weight)
    )
    np.testing.assert_allclose(edge_weight(jnp.float32(rms_now), K, D), np.outer(rms_now, rms_now) / D, rtol=1e-5)


def test_sparsity_is_the_weighted_l1_norm() -> None:
    """sum_ij w_ij (sum_l |B_l,ij| + |M_ij|)."""
    process = random_params(Config(latents=K, topk=4, lags=2)).process
    weight_kk = RNG.random((K, K))
    expected = ((np.abs(process.b_lkk).sum(0) + np.abs(process.m_kk)) * weight_kk).sum()
    np.testing.assert_allclose(sparsity(process, weight_kk), expected, rtol=1e-5)


def test_revival_moves_the_dead_only() -> None:
    """The auxiliary loss is zero while all live; else its gradient reaches dead rows alone, and not the error."""
    config = Config(latents=K, topk=4, lags=2, dead_after=100)
    params = random_params(config)
    out = forward(params, X_BTD, DOCUMENT_BT)
    dead_k = np.arange(K) < 2

    def loss(dictionary, idle_k):
        return revival(dictionary, out, idle_k, 100, KEY)

    assert float(loss(params.dictionary, jnp.zeros(K))) == 0
    gradient = jax.grad(loss)(params.dictionary, jnp.where(dead_k, 100.0, 99.0))
    for rows_kd in (gradient.encoder_kd, gradient.decoder_kd):
        np.testing.assert_array_equal(np.abs(rows_kd).sum(-1) > 0, dead_k)
