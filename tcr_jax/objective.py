"""The training objective: one function a term, and their weighted total.

    L = L_reconstruction + alpha L_innovation + beta L_sparsity + gamma L_acyclicity + delta L_revival

Every term is a mean over tokens, divided by the width d and never by the number of latents: the balance between a
concept's innovations and its incoming edges is then the same in a dictionary of any size.
Source: Song et al. 2025 (arXiv 2509.23323), section 4; where this differs, the term says so.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tcr_jax.acyclicity import PENALTIES
from tcr_jax.config import Config
from tcr_jax.dictionary import activate, batch_threshold, decode, preactivate
from tcr_jax.params import Dictionary, Params, Process
from tcr_jax.process import history, predict
from tcr_jax.typing import DROPPED, Array


class Forward(NamedTuple):
    """What the model makes of a batch. Masks: `kept_bt` positions reconstructed, `scored_bt` positions predicted."""

    x_btd: jax.Array
    reconstruction_btd: jax.Array
    z_btk: jax.Array
    past_btk: jax.Array
    present_btk: jax.Array
    kept_bt: jax.Array
    scored_bt: jax.Array
    threshold: jax.Array

    @property
    def eps_btk(self) -> jax.Array:
        """Innovations."""
        return self.z_btk - self.past_btk - self.present_btk


class Terms(NamedTuple):
    """The terms before their weights."""

    reconstruction: jax.Array
    innovation: jax.Array
    sparsity: jax.Array
    acyclicity: jax.Array
    revival: jax.Array


def forward(params: Params, x_btd: Array, document_bt: Array, *, training: bool = False) -> Forward:
    """Encodes every token once, and predicts it from the tokens before it and from itself.

    Args:
      params: the model; matrix products run in the dtype of its matrices (see `with_matrices`).
      x_btd: raw activations.
      document_bt: document of each position, negative where dropped.
      training: `batch_topk` takes its threshold from this batch instead of the saved one.
    """
    kept_bt = jnp.asarray(document_bt) != DROPPED
    x_btd = jnp.where(kept_bt[..., None], x_btd, 0).astype(jnp.float32)
    dictionary = params.dictionary
    y_btk = preactivate(dictionary, x_btd)
    if training and dictionary.activation == "batch_topk":
        dictionary = dictionary.replace(threshold=batch_threshold(y_btk, kept_bt, dictionary.topk))
    z_btk = jnp.where(kept_bt[..., None], activate(dictionary, y_btk), 0)
    past_btk, present_btk = jax.vmap(predict, in_axes=(None, 0, 0))(params.process, z_btk, document_bt)
    lags = 0 if params.process.b_lkk is None else len(params.process.b_lkk)
    scored_bt = jax.vmap(history, in_axes=(0, None))(document_bt, lags)
    threshold = jnp.asarray(dictionary.threshold)
    return Forward(x_btd, decode(dictionary, z_btk), z_btk, past_btk, present_btk, kept_bt, scored_bt, threshold)


def reconstruction(out: Forward, scale: Array) -> jax.Array:
    """mean over kept tokens of ||x - x^||^2 / d, in units of the activations' mean square."""
    error_bt = jnp.square((out.x_btd - out.reconstruction_btd) / scale).mean(axis=-1)
    return masked_mean(error_bt, out.kept_bt)


def innovation(out: Forward, kind: str) -> jax.Array:
    """mean over scored tokens of sum_i rho(eps_i) / d, rho(eps) = eps^2 (`squared`) or |eps| (`laplace`).

    `laplace` is the paper's negative log-likelihood. On codes with exact zeros it is minimised by predicting zero,
    whatever the past: `squared` is the one that learns relations there.
    """
    eps_btk = out.eps_btk
    loss_btk = jnp.square(eps_btk) if kind == "squared" else jnp.abs(eps_btk)
    return masked_mean(loss_btk.sum(axis=-1) / out.x_btd.shape[-1], out.scored_bt)


def edge_weight(rms_k: Array | None, latents: int, width: int) -> jax.Array:
    """w_ij, the price of one unit of B_ij or M_ij [k, k], at every lag: rms_i rms_j / d; without `rms_k`, 1 / d.

    With the root mean squares of the concepts, the squared innovation of i and the price of an edge into i scale alike:
    an edge stays at zero exactly where |corr(eps_i, z_j)| < beta / (2 alpha), at any width and any firing rate.
    """
    if rms_k is None:
        return jnp.full((latents, latents), 1 / width)
    return jnp.asarray(rms_k)[:, None] * jnp.asarray(rms_k) / width


def sparsity(process: Process, weight_kk: Array) -> jax.Array:
    """sum_ij w_ij (sum_l |B_l,ij| + |M_ij|). Reported here; the optimiser applies it, as a proximal step."""
    total = jnp.zeros(())
    for matrix in (process.b_lkk, process.m_kk):
        if matrix is not None:
            total += (jnp.abs(matrix) * weight_kk).sum()
    return total


def acyclicity(process: Process, kind: str, width: int) -> jax.Array:
    """The chosen penalty on M, over d; zero where M is absent or triangular by construction."""
    if process.m_kk is None or kind == "triangular":
        return jnp.zeros(())
    return PENALTIES[kind](process.m_kk) / width


def revival(dictionary: Dictionary, out: Forward, idle_k: Array, dead_after: int, key: jax.Array) -> jax.Array:
    """||e - e^||^2 / ||e||^2, where e^ reconstructs the error e = x - x^ from dead latents alone; 0 if none is dead.

    The auxiliary loss of Gao et al. 2024 (arXiv 2406.04093, appendix A.2). Chosen over resampling because it is smooth
    and leaves Adam's moments and the rows of B and M alone. At most d/2 dead latents, drawn anew each step, take part,
    so its cost is that of a small dictionary however many are dead.
    """
    latents, width = dictionary.encoder_kd.shape
    count = min(max(width // 2, 1), latents)
    dead_k = idle_k >= dead_after
    drawn_k = jnp.where(dead_k, 1 + jax.random.uniform(key, (latents,)), 0)
    chosen = jax.lax.top_k(drawn_k, count)[1]
    error_btd = jax.lax.stop_gradient((out.x_btd - out.reconstruction_btd) / dictionary.scale)
    error_btd = jnp.where(out.kept_bt[..., None], error_btd, 0)
    encoder, decoder = dictionary.encoder_kd[chosen], dictionary.decoder_kd[chosen]
    y = jnp.einsum("btd,nd->btn", error_btd.astype(encoder.dtype), encoder, preferred_element_type=jnp.float32)
    y = jnp.where(dead_k[chosen], y, 0)
    guess_btd = jnp.einsum("btn,nd->btd", y.astype(decoder.dtype), decoder, preferred_element_type=jnp.float32)
    share = jnp.square(error_btd - guess_btd).sum() / jnp.maximum(jnp.square(error_btd).sum(), 1e-9)
    return jnp.where(dead_k.any(), share, 0)


def objective(
    params: Params, x_btd: Array, document_bt: Array, config: Config, rms_k: Array, idle_k: Array, key: jax.Array
) -> tuple[jax.Array, tuple[Terms, Forward]]:
    """The part of L that has a gradient (all but sparsity), with every term and the forward pass beside it.

    Args:
      params: float32 parameters; the matrix products run in `config.dtype`.
      x_btd: raw activations.
      document_bt: document of each position, negative where dropped.
      config: which terms, and their weights.
      rms_k: root mean square of each concept, for the price of an edge.
      idle_k: tokens since each latent last fired.
      key: for the draw of dead latents.
    """
    compute = with_matrices(params, config.dtype)
    out = forward(compute, x_btd, document_bt, training=True)
    weight_kk = edge_weight(rms_k if config.sparsity == "standardised" else None, *params.dictionary.encoder_kd.shape)
    terms = Terms(
        reconstruction=reconstruction(out, params.dictionary.scale),
        innovation=innovation(out, config.innovation),
        sparsity=sparsity(params.process, weight_kk),
        acyclicity=acyclicity(params.process, config.acyclicity, x_btd.shape[-1]),
        revival=revival(compute.dictionary, out, idle_k, config.dead_after, key),
    )
    smooth = (
        terms.reconstruction
        + config.innovation_weight * terms.innovation
        + config.acyclicity_weight * terms.acyclicity
        + config.revival_weight * terms.revival
    )
    return smooth, (terms, out)


def with_matrices(params: Params, dtype: str) -> Params:
    """The parameters with their matrices in another precision; vectors and constants stay float32."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.ndim >= 2 else leaf, params)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of the values where the mask holds; 0 where it holds nowhere."""
    return jnp.where(mask, values, 0).sum() / jnp.maximum(mask.sum(), 1)
