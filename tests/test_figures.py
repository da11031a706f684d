"""Figures: their definitions, and batches that add up."""

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax import Config, init_params
from tcr_jax.figures import collect, figures
from tcr_jax.objective import forward

K, D, T = 10, 6, 12
RNG = np.random.default_rng(0)
X_BTD = RNG.normal(loc=1.0, size=(4, T, D)).astype(np.float32)
DOCUMENT_BT = np.zeros((4, T), np.int32)
DOCUMENT_BT[1, 5] = -1


def some_params():
    params = init_params(Config(latents=K, topk=3, lags=2), D, jnp.zeros(D), jnp.float32(2.0), jax.random.key(0))
    b_lkk = jnp.float32(0.2 * RNG.normal(size=(2, K, K)))
    m_kk = jnp.float32(0.2 * np.tril(RNG.normal(size=(K, K)), -1))
    return params.replace(process=params.process.replace(b_lkk=b_lkk, m_kk=m_kk))


def test_figures_are_their_definitions() -> None:
    """FVU, L0, silent share and both R^2, by hand."""
    params = some_params()
    out = forward(params, X_BTD, DOCUMENT_BT)
    got = figures(collect(params, out))
    kept, scored = np.asarray(out.kept_bt), np.asarray(out.scored_bt)
    x, error = X_BTD[kept], (X_BTD - out.reconstruction_btd)[kept]
    np.testing.assert_allclose(got["fvu"], np.square(error).sum() / np.square(x - x.mean(0)).sum(), rtol=1e-4)
    fired = np.asarray(out.z_btk)[kept] != 0
    np.testing.assert_allclose(got["l0"], fired.sum(-1).mean())
    np.testing.assert_allclose(got["silent"], 1 - fired.any(0).mean(), atol=1e-6)
    z, eps, past = (np.asarray(a)[scored] for a in (out.z_btk, out.eps_btk, out.past_btk))
    deviation = np.square(z - z.mean(0)).sum()
    np.testing.assert_allclose(got["r2_past_present"], 1 - np.square(eps).sum() / deviation, rtol=1e-3)
    from_past = past @ np.linalg.inv(np.eye(K) - params.process.m_kk).T
    np.testing.assert_allclose(got["r2_past"], 1 - np.square(z - from_past).sum() / deviation, rtol=1e-3)


def test_batches_add_up() -> None:
    """The figures of two batches are those of their union."""
    params = some_params()
    halves = [collect(params, forward(params, X_BTD[h], DOCUMENT_BT[h])) for h in (slice(0, 1), slice(1, 4))]
    together = collect(params, forward(params, X_BTD, DOCUMENT_BT))
    for name, value in figures(jax.tree.map(jnp.add, *halves)).items():
        np.testing.assert_allclose(value, figures(together)[name], rtol=1e-4, err_msg=name)
