"""B fitted to activations: least squares of the decoded prediction where all effects may join, and few where not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tcr_jax
from tcr_jax.closed_form import collect_moments, fit_decoded, fit_moments
from tcr_jax.params import Dictionary
from tcr_jax.store import Batch

K, D, LAGS = 12, 6, 2


def dictionary() -> Dictionary:
    config = tcr_jax.Config(latents=K, topk=4)
    found = tcr_jax.init_params(config, D, jnp.ones(D), jnp.asarray(2.0), jax.random.key(0)).dictionary
    return found.replace(decoder_bias_d=jnp.linspace(-1, 1, D))


def activations() -> tuple[np.ndarray, np.ndarray]:
    """A stable linear process of x itself, in short documents."""
    rng = np.random.default_rng(0)
    a_dd = 0.8 * np.linalg.qr(rng.normal(size=(D, D)))[0]
    x_btd = rng.laplace(size=(300, 20, D))
    for t in range(1, 20):
        x_btd[:, t] += x_btd[:, t - 1] @ a_dd.T
    return np.float32(x_btd + 1.5), np.repeat(np.arange(300)[:, None], 20, axis=1)


X_BTD, DOCUMENT_BT = activations()
MOMENTS = collect_moments(dictionary(), [Batch(X_BTD, np.zeros_like(DOCUMENT_BT), DOCUMENT_BT)], LAGS, decoded=True)


def windows() -> tuple[np.ndarray, np.ndarray]:
    """x_t, and [1, z_{t-1}, .., z_{t-l}], of every token with full history."""
    z_btk = np.asarray(tcr_jax.encode(dictionary(), X_BTD), np.float64)
    past = [z_btk[:, LAGS - lag : 20 - lag].reshape(-1, K) for lag in range(1, LAGS + 1)]
    return X_BTD[:, LAGS:].reshape(-1, D), np.hstack([np.ones((len(past[0]), 1)), *past])


def error(process: tcr_jax.Process) -> float:
    """Mean squared error of the decoded prediction."""
    x_nd, past_nf = windows()
    assert process.b_lkk is not None and process.intercept_k is not None
    z_nk = past_nf[:, 1:] @ np.asarray(process.b_lkk).transpose(0, 2, 1).reshape(-1, K) + process.intercept_k
    return float(np.square(x_nd - tcr_jax.decode(dictionary(), z_nk)).mean())


def test_all_effects_reach_least_squares_of_x() -> None:
    """With every effect and no ridge the decoded prediction is as good as a regression of x on past codes can be."""
    x_nd, past_nf = windows()
    least = np.square(x_nd - past_nf @ np.linalg.lstsq(past_nf, x_nd, rcond=None)[0]).mean()
    found = error(fit_decoded(dictionary(), MOMENTS, parents=LAGS * K, ridge=0.0))
    assert least * 0.999 < found < least * 1.01


def test_few_effects_beat_those_chosen_for_z() -> None:
    """The number of effects is kept, and for x they are better than as many chosen for the code."""
    process = fit_decoded(dictionary(), MOMENTS, parents=3, ridge=1e-3)
    assert process.b_lkk is not None and int((process.b_lkk != 0).sum()) == 3 * K
    assert error(process) < 0.95 * error(fit_moments(MOMENTS, parents=3))


def test_moments_without_activations() -> None:
    """Named with the mend."""
    with pytest.raises(ValueError, match="decoded=True"):
        fit_decoded(dictionary(), MOMENTS._replace(decoded=None))
