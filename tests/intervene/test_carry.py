"""Laws of directions carried to an earlier layer."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tcr_jax import Params
from tcr_jax.dictionary import preactivate
from tcr_jax.extract.residual_stream import residual_stream
from tcr_jax.intervene.carry import (
    Moments,
    by_decoder,
    by_gradient,
    by_means,
    by_pullback,
    by_regression,
    gather_moments,
    mean_jacobian,
    quality,
)
from tcr_jax.intervene.passages import Passage
from tcr_jax.intervene.response import respond
from tcr_jax.intervene.run_on import remember, run_on
from tcr_jax.intervene.sites import removals
from tests.intervene.conftest import LATENTS, LAYER, WIDTH, alike

LAYERS = {"edited_layer": 1, "layer": LAYER}


@pytest.fixture(scope="module")
def moments(model: PreTrainedModel, params: Params, passages: list[Passage]) -> Moments:
    return gather_moments(model, params.dictionary, passages, 1)


def test_moments_are_those_of_all_kept_tokens(
    model: PreTrainedModel, passages: list[Passage], z_tk: list[np.ndarray], moments: Moments
) -> None:
    """Covariances, and means where a concept fires, as from one array of everything."""
    x_td = np.concatenate([residual_stream(model, 1, p.token_t[None])[0].numpy()[p.kept_t] for p in passages])
    z_tk = np.concatenate([z[p.kept_t] for z, p in zip(z_tk, passages, strict=True)])
    joint = np.cov(np.concatenate([z_tk, x_td], axis=1).T, bias=True)
    assert moments.tokens == len(z_tk)
    np.testing.assert_allclose(moments.zz_kk, joint[:LATENTS, :LATENTS], atol=1e-4)
    np.testing.assert_allclose(moments.zx_kd, joint[:LATENTS, LATENTS:], atol=1e-4)
    np.testing.assert_allclose(moments.fired_x_kd[5], x_td[z_tk[:, 5] != 0].mean(0), atol=1e-4)
    difference_d = x_td[z_tk[:, 5] != 0].mean(0) - x_td[z_tk[:, 5] == 0].mean(0)
    np.testing.assert_allclose(by_means(moments)[5], difference_d / z_tk[z_tk[:, 5] != 0, 5].mean(), atol=1e-3)


def test_regression_finds_what_each_concept_adds(moments: Moments) -> None:
    """Where the earlier x is linear in the concepts, its coefficients come back."""
    true_kd = np.random.default_rng(0).normal(size=(LATENTS, WIDTH))
    linear = moments._replace(zx_kd=moments.zz_kk @ true_kd)
    np.testing.assert_allclose(by_regression(linear, ridge=1e-9), true_kd, atol=1e-3)


def test_gradient_raises_its_concept_most(
    model: PreTrainedModel, params: Params, passages: list[Passage], z_tk: list[np.ndarray]
) -> None:
    """At one token, a small step along it raises the concept by as much, and no other step of its length by more."""
    sites = removals(passages, z_tk, alike((5, 0)), count=1)
    direction_kd = by_gradient(model, params.dictionary, passages, sites, **LAYERS)
    assert not direction_kd[np.arange(LATENTS) != 5].any()
    random = np.random.default_rng(0).normal(size=(50, WIDTH))
    length = np.linalg.norm(direction_kd[5])
    steps_nd = 1e-2 * np.concatenate(
        [[0 * direction_kd[5]], [direction_kd[5]], length * random / np.linalg.norm(random, axis=1)[:, None]]
    )
    text = remember(model, passages[sites[0].passage].token_t, **LAYERS)
    with torch.no_grad():
        x_nd = run_on(model, text, start=sites[0].position, horizon=0, change_nd=torch.tensor(steps_nd))
    y_n = np.asarray(preactivate(params.dictionary, x_nd[:, 0].numpy()))[:, 5]
    assert y_n[1] - y_n[0] == pytest.approx(1e-2, rel=0.1)
    assert y_n.argmax() == 1


def test_pullback_becomes_the_decoder_row(
    model: PreTrainedModel, params: Params, passages: list[Passage], z_tk: list[np.ndarray]
) -> None:
    """At one token, a small step along it becomes the concept's own direction behind the blocks between."""
    site = removals(passages, z_tk, alike((5, 0)), count=1)[0]
    jacobian_dd = mean_jacobian(model, passages, [site], **LAYERS)
    direction_kd = by_pullback(params.dictionary, jacobian_dd, ridge=1e-9)
    text = remember(model, passages[site.passage].token_t, **LAYERS)
    change_nd = 1e-2 * torch.tensor(np.stack([0 * direction_kd[5], direction_kd[5]]))
    with torch.no_grad():
        x_nd = run_on(model, text, start=site.position, horizon=0, change_nd=change_nd)[:, 0]
    wanted_d = by_decoder(params.dictionary)[5]
    np.testing.assert_allclose((x_nd[1] - x_nd[0]) / 1e-2, wanted_d, atol=0.1 * np.abs(wanted_d).max())


def test_quality_tells_a_direction_from_its_opposite(
    model: PreTrainedModel, params: Params, passages: list[Passage], z_tk: list[np.ndarray]
) -> None:
    """The decoder row moves its concept the way that was asked for, its negative the other way."""
    sites = removals(passages, z_tk, alike(*((source, 0) for source in range(8))), count=3)
    wanted_n = np.array([np.mean([s.amount_n[s.source_n == n] for s in sites if n in s.source_n]) for n in range(8)])
    forth, back = (
        quality(
            respond(
                model, params.dictionary, passages, sites, sign * by_decoder(params.dictionary), horizon=0, **LAYERS
            )["removal"],
            wanted_n,
        )
        for sign in (1, -1)
    )
    assert forth.gain > forth.gain_least > 0
    assert back.gain_least < back.gain < 0
