"""A concept's direction, carried from the dictionary's layer to an earlier one.

An edit at the dictionary's own layer reaches no other token there, so a concept must be edited before that layer. Each
function gives `direction_kd`: the change of the earlier residual stream, in raw units, that stands for one unit of
each concept. Which of them moves a concept best and the others least is a matter of measurement: see `quality`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from tcr_jax.intervene.edited_run import edited_run
from tcr_jax.intervene.passages import Passage, concepts
from tcr_jax.intervene.response import Response
from tcr_jax.intervene.run_on import Remembered, remember_sites, run_on
from tcr_jax.intervene.sites import Site
from tcr_jax.params import Dictionary

ROWS = 96  # rows of a Jacobian computed at a time


class Moments(NamedTuple):
    """Of concepts and earlier activations at the same tokens, in one pass over text."""

    tokens: int
    fires_k: np.ndarray  # tokens at which each concept fires
    z_k: np.ndarray  # mean
    x_d: np.ndarray  # mean
    zz_kk: np.ndarray  # covariance of z
    zx_kd: np.ndarray  # covariance of z and x
    fired_x_kd: np.ndarray  # mean of x where each concept fires
    fired_z_k: np.ndarray  # mean of z there


def by_decoder(dictionary: Dictionary) -> np.ndarray:
    """The decoder row itself, as if the blocks between left the residual stream alone."""
    return np.asarray(dictionary.scale * dictionary.decoder_kd)


@torch.no_grad()
def gather_moments(
    model: PreTrainedModel, dictionary: Dictionary, passages: Sequence[Passage], edited_layer: int
) -> Moments:
    """Runs the model over training passages up to the earlier block. Concepts are read from the store's activations."""
    k, d = dictionary.encoder_kd.shape
    tokens, fires_k, z_k, x_d = 0, np.zeros(k), np.zeros(k), np.zeros(d)
    zz_kk, zx_kd, fired_x_kd = np.zeros((k, k)), np.zeros((k, d)), np.zeros((k, d))
    for passage, z_tk in zip(passages, concepts(dictionary, passages), strict=True):
        run = edited_run(model, passage.token_t[None], {}, read=(edited_layer,), logits=False)
        x_td = run.x_btd[edited_layer][0].float().cpu().numpy()[passage.kept_t]
        z_tk = z_tk[passage.kept_t]
        fires_tk = (z_tk != 0).astype(np.float32)
        tokens += len(z_tk)
        fires_k, z_k, x_d = fires_k + fires_tk.sum(0), z_k + z_tk.sum(0), x_d + x_td.sum(0)
        zz_kk, zx_kd, fired_x_kd = zz_kk + z_tk.T @ z_tk, zx_kd + z_tk.T @ x_td, fired_x_kd + fires_tk.T @ x_td
    fired_k = np.maximum(fires_k, 1)
    z_mean_k, x_d = z_k / tokens, x_d / tokens
    return Moments(
        tokens,
        fires_k,
        z_mean_k,
        x_d,
        zz_kk / tokens - np.outer(z_mean_k, z_mean_k),
        zx_kd / tokens - np.outer(z_mean_k, x_d),
        fired_x_kd / fired_k[:, None],
        z_k / fired_k,
    )


def by_means(moments: Moments) -> np.ndarray:
    """Mean of x where the concept fires less its mean where it does not, for each unit of the concept's mean there."""
    share_k1 = (moments.fires_k / moments.tokens)[:, None]
    elsewhere_kd = (moments.x_d - share_k1 * moments.fired_x_kd) / np.maximum(1 - share_k1, 1e-6)
    strength_k = np.where(moments.fired_z_k == 0, 1, moments.fired_z_k)
    return (moments.fired_x_kd - elsewhere_kd) / strength_k[:, None]


def by_regression(moments: Moments, ridge: float = 1e-2) -> np.ndarray:
    """x regressed on all concepts together: what one unit of a concept adds, the others held.

    `ridge` is a share of the mean variance of a concept.
    """
    penalty = ridge * np.trace(moments.zz_kk) / len(moments.zz_kk)
    return np.linalg.solve(moments.zz_kk + penalty * np.eye(len(moments.zz_kk)), moments.zx_kd)


def by_gradient(
    model: PreTrainedModel,
    dictionary: Dictionary,
    passages: Sequence[Passage],
    sites: Sequence[Site],
    *,
    edited_layer: int,
    layer: int,
) -> np.ndarray:
    """g / |g|^2 with g the gradient of the concept's pre-activation by the earlier x of its token, averaged over sites.

    The direction that raises the concept most for its length. Sites are of training passages; zero where a concept has
    none.
    """
    read_kd = np.asarray(dictionary.encoder_kd / dictionary.scale)
    total_kd = np.zeros(read_kd.shape)
    for site, text in remember_sites(model, passages, sites, edited_layer=edited_layer, layer=layer):
        wanted_nd = torch.as_tensor(read_kd[site.source_n], dtype=torch.float32, device=model.device)
        total_kd[site.source_n] += _gradients(model, text, site.position, wanted_nd)
    count_k = np.bincount(np.concatenate([site.source_n for site in sites]), minlength=len(read_kd))
    mean_kd = total_kd / np.maximum(count_k, 1)[:, None]
    square_k1 = (mean_kd**2).sum(axis=1, keepdims=True)
    return np.divide(mean_kd, square_k1, out=np.zeros_like(mean_kd), where=square_k1 > 0)


def by_pullback(dictionary: Dictionary, jacobian_dd: np.ndarray, ridge: float = 1e-2) -> np.ndarray:
    """The v with J v = scale * decoder row: the blocks between turn it into the concept's own direction alone.

    Args:
      dictionary: of the later layer.
      jacobian_dd: from `mean_jacobian`.
      ridge: a share of the mean squared singular value of J, added before solving.
    """
    gram_dd = jacobian_dd.T @ jacobian_dd
    penalty = ridge * np.trace(gram_dd) / len(gram_dd)
    return np.linalg.solve(gram_dd + penalty * np.eye(len(gram_dd)), jacobian_dd.T @ by_decoder(dictionary).T).T


def mean_jacobian(
    model: PreTrainedModel, passages: Sequence[Passage], sites: Sequence[Site], *, edited_layer: int, layer: int
) -> np.ndarray:
    """E[d x_s (after block `layer`) / d x_s (after block `edited_layer`)], [later, earlier], over the sites' tokens."""
    width = passages[0].x_td.shape[-1]
    identity_dd = torch.eye(width, device=model.device)
    total_dd = np.zeros((width, width))
    for site, text in remember_sites(model, passages, sites, edited_layer=edited_layer, layer=layer):
        for start in range(0, width, ROWS):
            rows = slice(start, start + ROWS)
            total_dd[rows] += _gradients(model, text, site.position, identity_dd[rows])
    return total_dd / len(sites)


class Quality(NamedTuple):
    """How well a carried direction edits its concept at its own token; medians over concepts."""

    gain: float  # change of the concept's pre-activation over the change that was wanted
    gain_least: float  # the gain that nine concepts in ten exceed
    leak: float  # root sum of squares of all other concepts' mean changes of z, over the concept's own


def quality(response: Response, wanted_n: np.ndarray) -> Quality:
    """See `Quality`; `wanted_n` is the mean amount that was asked for."""
    z_nk = response.code.mean_nhk[:, 0].copy()
    dose_n = np.abs(response.dose_n)
    z_nk[np.arange(len(z_nk)), response.source_n] = 0
    leak_n = np.linalg.norm(z_nk, axis=1) / np.maximum(dose_n, 1e-9)
    gain_n = response.raised_n / wanted_n
    return Quality(float(np.median(gain_n)), float(np.quantile(gain_n, 0.1)), float(np.median(leak_n)))


def _gradients(model: PreTrainedModel, text: Remembered, position: int, wanted_nd: torch.Tensor) -> np.ndarray:
    """Gradients of wanted_n . x_s after `text.layer` by x_s after `text.edited_layer`, other tokens left alone."""
    change_nd = torch.zeros_like(wanted_nd, requires_grad=True)
    x_nhd = run_on(model, text, start=position, horizon=0, change_nd=change_nd)
    (gradient_nd,) = torch.autograd.grad((x_nhd[:, 0].float() * wanted_nd).sum(), change_nd)
    return gradient_nd.cpu().numpy()
