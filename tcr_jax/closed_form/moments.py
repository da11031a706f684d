"""Lagged second moments of sparse codes, in one pass, exact at document boundaries, without the [(l+1)k]^2 matrix.

Let f_t = [z_t, z_{t-1}, .., z_{t-l}] and let the scored tokens be those with all of f_t in their own document. The Gram
matrix of f over scored tokens has the blocks S_{a,b} = sum_t z_{t-a} z_{t-b}^T. Moving both lags by one moves every run
of scored tokens by one, so that only the ends of runs differ:

    S_{a+1,b+1} = S_{a,b} + sum over tokens s before a run of z_{s-a} z_{s-b}^T - sum over last tokens s of one

The first row of blocks, S_{0,0} .. S_{0,l}, and the codes about the ends therefore hold all of it: (l+1) k^2 numbers
and a few sparse windows, where the Gram matrix has (l+1)^2 k^2. With n active latents a token, a token costs (l+1) n^2
products where n is small against k, else (l+1) k^2.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.dictionary import encode
from tcr_jax.identify.moments import _add as compensated
from tcr_jax.params import Dictionary
from tcr_jax.process import history
from tcr_jax.store import Batch
from tcr_jax.typing import Array

SCATTERED = 32
"""Products are taken one by one where fewer than one latent in so many is active: about where that is faster."""


class Ends(NamedTuple):
    """Codes about the ends of runs of scored tokens: the active latents of z_s, z_{s-1}, .., z_{s-l+1}."""

    sign_n: np.ndarray  # +1: s is the token before a run; -1: s is its last token
    index_nla: np.ndarray
    value_nla: np.ndarray


class Decoded(NamedTuple):
    """Sums of what the decoder's sum is to equal, y = (x - mean) / scale - b_dec = W_dec^T z + error."""

    sum_d: jax.Array  # sum_t y_t
    cross_ldk: tuple[jax.Array, ...]  # sum_t y_t z_{t-h}^T, h = 1 .. lags


class CodeMoments(NamedTuple):
    """Sums over the scored tokens, those with `lags` earlier tokens in their own document."""

    tokens: float
    sum_lk: jax.Array  # sum_t z_{t-h}; here index 0 of `l` is lag 0
    cross_lkk: tuple[jax.Array, ...]  # S_{0,h} = sum_t z_t z_{t-h}^T, h = 0 .. lags
    ends: Ends
    decoded: Decoded | None = None

    @property
    def lags(self) -> int:
        return len(self.cross_lkk) - 1

    @property
    def latents(self) -> int:
        return self.sum_lk.shape[1]


def collect_moments(
    dictionary: Dictionary, batches: Iterable[Batch], lags: int, *, decoded: bool = False
) -> CodeMoments:
    """Moments of the codes of batches of activations: encoded as they come, kept as sums.

    A batch may be sharded over a mesh by its sequences. Processes that each read their own batches `merge` their sums.

    Args:
      dictionary: frozen.
      batches: of activations.
      lags: tokens back.
      decoded: also with the activations themselves, which `fit_decoded` needs.

    Raises:
      ValueError: no token has `lags` earlier tokens in its own document.
    """
    parts = (_parts(dictionary, jnp.asarray(batch.x_btd), jnp.asarray(batch.document_bt), decoded) for batch in batches)
    return _summed(parts, lags, active_latents(dictionary))


def active_latents(dictionary: Dictionary) -> int:
    """Latents of a token that can be other than zero, where the activation fixes their number; else all."""
    return dictionary.topk if dictionary.activation in ("topk", "relu_topk") else dictionary.encoder_kd.shape[0]


def code_moments(codes: Iterable[tuple[Array, Array]], lags: int, active: int) -> CodeMoments:
    """Moments of batches (z_btk, document_bt) of which at most `active` latents a token are not zero; see above."""
    return _summed(((z_btk, document_bt, None) for z_btk, document_bt in codes), lags, active)


def merge(first: CodeMoments, second: CodeMoments) -> CodeMoments:
    """The moments of two texts together."""
    sums = [(m.sum_lk, m.cross_lkk, m.decoded) for m in (first, second)]
    sum_lk, cross_lkk, decoded = jax.tree.map(jnp.add, *sums)
    ends = _joined([first.ends, second.ends])
    return CodeMoments(first.tokens + second.tokens, sum_lk, cross_lkk, ends, decoded)


Part = tuple[Array, Array, Array | None]
"""z_btk, document_bt, and y_btd where it is asked for."""


def _summed(parts: Iterable[Part], lags: int, active: int) -> CodeMoments:
    sums, ends = None, []
    for part in parts:
        if sums is None:
            sums = _nothing(part, lags)
        sums, index_bta, value_bta, scored_bt = _add_batch(*sums, *part, active)
        ends.append(_ends(np.asarray(scored_bt), np.asarray(index_bta), np.asarray(value_bta), lags))
    if sums is None or not float(sums[0].tokens):
        raise ValueError(f"lags={lags}: no token has so many earlier ones in its own document; lower lags")
    total = sums[0]
    return CodeMoments(float(total.tokens), total.sum_lk, total.cross_lkk, _joined(ends), total.decoded)


class _Sums(NamedTuple):
    """The fields of `CodeMoments` that are sums."""

    tokens: jax.Array
    sum_lk: jax.Array
    cross_lkk: tuple[jax.Array, ...]
    decoded: Decoded | None


def _nothing(part: Part, lags: int) -> tuple[_Sums, _Sums]:
    """Sums over nothing, and what float32 additions lost of them."""

    def zeros() -> _Sums:
        latents, decoded = part[0].shape[-1], None
        if part[2] is not None:
            width = part[2].shape[-1]
            decoded = Decoded(jnp.zeros(width), tuple(jnp.zeros((width, latents)) for _ in range(lags)))
        cross_lkk = tuple(jnp.zeros((latents, latents)) for _ in range(lags + 1))
        return _Sums(jnp.zeros(()), jnp.zeros((lags + 1, latents)), cross_lkk, decoded)

    return zeros(), zeros()


@functools.partial(jax.jit, static_argnames="decoded")
def _parts(dictionary: Dictionary, x_btd: Array, document_bt: Array, decoded: bool) -> Part:
    z_btk = encode(dictionary, x_btd)
    if not decoded:
        return z_btk, document_bt, None
    bias_d = 0 if dictionary.decoder_bias_d is None else dictionary.decoder_bias_d
    return z_btk, document_bt, (x_btd.astype(jnp.float32) - dictionary.mean_d) / dictionary.scale - bias_d


@functools.partial(jax.jit, static_argnames="active", donate_argnums=(0, 1))
def _add_batch(
    sums: _Sums, lost: _Sums, z_btk: Array, document_bt: Array, y_btd: Array | None, active: int
) -> tuple[tuple[_Sums, _Sums], jax.Array, jax.Array, jax.Array]:
    """The sums with one more batch, its active latents and their values, and its scored tokens."""
    lags, latents = len(sums.cross_lkk) - 1, z_btk.shape[-1]
    document_bt = jnp.asarray(document_bt)
    scored_bt = jax.vmap(history, (0, None))(document_bt, lags)
    z_btk = jnp.where(document_bt[..., None] >= 0, z_btk, 0).astype(jnp.float32)  # codes may be kept in less
    index_bta = jax.lax.top_k(jnp.abs(z_btk), active)[1]
    value_bta = jnp.take_along_axis(z_btk, index_bta, axis=-1)

    def earlier(values_bt: jax.Array, lag: int) -> jax.Array:
        return jnp.roll(values_bt, lag, axis=1)  # what wraps round is never scored

    def scored(values_btv: jax.Array) -> jax.Array:
        return jnp.where(scored_bt[..., None], values_btv, 0)

    def with_earlier(values_btv: jax.Array, lag: int) -> jax.Array:
        return jnp.einsum("btv,btk->vk", values_btv, earlier(z_btk, lag), precision="highest")

    def product(lag: int) -> jax.Array:
        if active * SCATTERED > latents:
            return with_earlier(scored(z_btk), lag)
        place = index_bta[..., :, None] * latents + earlier(index_bta, lag)[..., None, :]
        value = scored(value_bta)[..., :, None] * earlier(value_bta, lag)[..., None, :]
        return jnp.zeros(latents**2).at[place.reshape(-1)].add(value.reshape(-1)).reshape(latents, latents)

    decoded = None
    if y_btd is not None:
        y_btd = scored(y_btd)
        decoded = Decoded(y_btd.sum((0, 1)), tuple(with_earlier(y_btd, lag) for lag in range(1, lags + 1)))
    sum_lk = jnp.stack([scored(earlier(z_btk, lag)).sum((0, 1)) for lag in range(lags + 1)])
    terms = _Sums(scored_bt.sum(dtype=jnp.float32), sum_lk, tuple(map(product, range(lags + 1))), decoded)
    leaves, structure = jax.tree.flatten(sums)
    added = [compensated(*of) for of in zip(leaves, jax.tree.leaves(lost), jax.tree.leaves(terms), strict=True)]
    totals = tuple(jax.tree.unflatten(structure, part) for part in zip(*added, strict=True))
    return totals, index_bta, value_bta, scored_bt


def _ends(scored_bt: np.ndarray, index_bta: np.ndarray, value_bta: np.ndarray, lags: int) -> Ends:
    """Where runs of scored tokens begin and end in a batch."""
    after_bt = np.pad(scored_bt[:, 1:], ((0, 0), (0, 1))).astype(np.int8)
    change_bt = after_bt - scored_bt
    b_n, s_n = np.nonzero(change_bt)
    window_nl = np.maximum(s_n[:, None] - np.arange(lags), 0)
    return Ends(change_bt[b_n, s_n], index_bta[b_n[:, None], window_nl], value_bta[b_n[:, None], window_nl])


def _joined(ends: list[Ends]) -> Ends:
    return Ends(*map(np.concatenate, zip(*ends, strict=True)))
