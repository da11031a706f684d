"""The training objective: one function a term, and their weighted total.

    L = L_reconstruction + lambda L_code + alpha L_innovation + beta L_sparsity + gamma L_acyclicity + delta L_revival

Reconstruction, code and innovation are means over tokens, sparsity is a sum over edges, acyclicity a function of M; all
are divided by the width d and never by the number of latents: the balance between a concept's innovations and its
incoming edges is then the same in a dictionary of any size. Revival is a share of the error, without unit.
Source: Song et al. 2025 (arXiv 2509.23323), section 4; where this differs, the term says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tcr_jax.acyclicity import PENALTIES
from tcr_jax.config import Config
from tcr_jax.dictionary import batch_threshold, decode, encode, preactivate
from tcr_jax.params import CONSTANTS, Dictionary, Params, Process
from tcr_jax.process import history, predict
from tcr_jax.typing import Array


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
    code: jax.Array
    innovation: jax.Array
    sparsity: jax.Array
    acyclicity: jax.Array
    revival: jax.Array


def forward(
    params: Params, x_btd: Array, document_bt: Array, *, training: bool = False, gather: Callable = lambda z: z
) -> Forward:
    """Encodes every token once, and predicts it from the tokens before it and from itself.

    Args:
      params: the model; matrix products run in the dtype of its matrices (see `with_matrices`).
      x_btd: raw activations.
      document_bt: document of each position, negative where dropped.
      training: `batch_topk` takes its threshold from this batch instead of the saved one.
      gather: where devices share the latents, brings each token's together: once, for the activation and for all lags.
    """
    kept_bt = jnp.asarray(document_bt) >= 0
    x_btd = jnp.where(kept_bt[..., None], x_btd, 0).astype(jnp.float32)
    dictionary = params.dictionary
    if training and dictionary.activation == "batch_topk":
        y_btk = gather(preactivate(dictionary, x_btd))
        dictionary = dictionary.replace(threshold=batch_threshold(y_btk, kept_bt, dictionary.topk))
    z_btk = jnp.where(kept_bt[..., None], encode(dictionary, x_btd, gather), 0)
    past_btk, present_btk = jax.vmap(predict, in_axes=(None, 0, 0))(params.process, z_btk, document_bt)
    lags = 0 if params.process.b_lkk is None else len(params.process.b_lkk)
    scored_bt = jax.vmap(history, in_axes=(0, None))(document_bt, lags)
    threshold = jnp.asarray(dictionary.threshold)
    return Forward(x_btd, decode(dictionary, z_btk), z_btk, past_btk, present_btk, kept_bt, scored_bt, threshold)


def reconstruction(out: Forward, scale: Array) -> jax.Array:
    """mean over kept tokens of ||x - x^||^2 / d, in units of the activations' mean square."""
    error_bt = jnp.square((out.x_btd - out.reconstruction_btd) / scale).mean(axis=-1)
    return masked_mean(error_bt, out.kept_bt)


def code(out: Forward) -> jax.Array:
    """mean over kept tokens of sum_i |z_i| / d: the L1 norm of the code, which is what each concept adds to x.

    The penalty of the classic sparse autoencoder (Bricken et al. 2023). Decoder rows have unit norm, so the encoder
    cannot evade it by shrinking z and growing the rows.
    """
    return masked_mean(jnp.abs(out.z_btk).sum(axis=-1) / out.x_btd.shape[-1], out.kept_bt)


def innovation(out: Forward, kind: str) -> jax.Array:
    """mean over scored tokens of sum_i rho(eps_i) / d, rho(eps) = eps^2 (`squared`) or |eps| (`laplace`).

    `laplace` is the paper's negative log-likelihood. On codes with exact zeros it is minimised by predicting zero,
    whatever the past: `squared` is the one that learns relations there. But squared error is a Gaussian likelihood, and
    both losses weigh concepts by their own scale: neither tells cause from effect within a token, and an edge is worth
    most where it points at the concept of larger variance (Reisach et al. 2021, arXiv 2102.13647). Delayed edges have
    their direction from time.
    """
    eps_btk = out.eps_btk
    loss_btk = jnp.square(eps_btk) if kind == "squared" else jnp.abs(eps_btk)
    return masked_mean(loss_btk.sum(axis=-1) / out.x_btd.shape[-1], out.scored_bt)


def edge_weight(rms_k: Array | None, latents: int, width: int) -> jax.Array:
    """w_ij, the price of one unit of B_ij or M_ij [k, k], at every lag: rms_i rms_j / d; without `rms_k`, 1 / d.

    With the root mean squares of the concepts, the squared innovation of i and the price of an edge into i scale alike:
    an edge stays at zero where |E eps_i z_j| / (rms_i rms_j) < beta / (2 alpha), at any width and any firing rate.
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
    """||e - W_dec^T y||^2 / ||e||^2 over dead latents: their pre-activations y are to explain the error e = x - x^.

    The auxiliary loss of Gao et al. 2024 (arXiv 2406.04093, appendix A.2), with one difference: instead of the largest
    pre-activations of each token, up to d/2 dead latents drawn anew each step take part in all tokens: a small matrix
    product and no second top-k. Chosen over resampling because it is smooth and leaves Adam's moments and the
    rows of B and M alone. Zero, and free, while none is dead.
    """
    latents, width = dictionary.encoder_kd.shape
    count = min(max(width // 2, 1), latents)
    dead_k = idle_k >= dead_after
    drawn_k = jnp.where(dead_k, 1 + jax.random.uniform(key, (latents,)), 0)
    chosen = jax.lax.top_k(drawn_k, count)[1]

    def unexplained(dictionary: Dictionary) -> jax.Array:
        bias_k = dictionary.encoder_bias_k
        few = dictionary.replace(
            encoder_kd=dictionary.encoder_kd[chosen],
            decoder_kd=dictionary.decoder_kd[chosen],
            encoder_bias_k=None if bias_k is None else bias_k[chosen],
            decoder_bias_d=None,
            mean_d=jnp.zeros_like(dictionary.mean_d),
        )
        y_btn = jnp.where(dead_k[chosen], preactivate(few, out.x_btd - dictionary.mean_d), 0)
        error_btd = jax.lax.stop_gradient(out.x_btd - out.reconstruction_btd)
        left_btd, error_btd = (
            jnp.where(out.kept_bt[..., None], values, 0) for values in (error_btd - decode(few, y_btn), error_btd)
        )
        return jnp.square(left_btd).sum() / jnp.maximum(jnp.square(error_btd).sum(), 1e-9)

    return jax.lax.cond(dead_k.any(), unexplained, lambda _: jnp.zeros(()), dictionary)


def objective(
    params: Params,
    x_btd: Array,
    document_bt: Array,
    config: Config,
    weight_kk: Array,
    idle_k: Array,
    key: jax.Array,
    gather: Callable = lambda z: z,
) -> tuple[jax.Array, tuple[Terms, Forward]]:
    """The part of L that has a gradient (all but sparsity), with every term and the forward pass beside it.

    Args:
      params: float32 parameters; the matrix products run in `config.dtype`.
      x_btd: raw activations.
      document_bt: document of each position, negative where dropped.
      config: which terms, and their weights.
      weight_kk: price of an edge, from `edge_weight`.
      idle_k: tokens since each latent last fired.
      key: for the draw of dead latents.
      gather: see `forward`.
    """
    params = _held(params)
    compute = with_matrices(params, config.dtype)
    out = forward(compute, x_btd, document_bt, training=True, gather=gather)
    terms = Terms(
        reconstruction=reconstruction(out, params.dictionary.scale),
        code=code(out),
        innovation=innovation(out, config.innovation),
        sparsity=sparsity(params.process, weight_kk),
        acyclicity=acyclicity(params.process, config.acyclicity, x_btd.shape[-1]),
        revival=revival(compute.dictionary, out, idle_k, config.dead_after, key),
    )
    smooth = (
        terms.reconstruction
        + config.code_l1 * terms.code
        + config.innovation_weight * terms.innovation
        + config.acyclicity_weight * terms.acyclicity
        + config.revival_weight * terms.revival
    )
    return smooth, (terms, out)


def with_matrices(params: Params, dtype: str) -> Params:
    """The parameters with their matrices in another precision; vectors and constants stay float32."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.ndim >= 2 else leaf, params)


def _held(params: Params) -> Params:
    """The parameters, with no gradient to those that are not trained: it would cost time and count in the clipping."""
    held = {name: jax.lax.stop_gradient(getattr(params.dictionary, name)) for name in CONSTANTS}
    return params.replace(dictionary=params.dictionary.replace(**held))


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of the values where the mask holds; 0 where it holds nowhere."""
    return jnp.where(mask, values, 0).sum() / jnp.maximum(mask.sum(), 1)
