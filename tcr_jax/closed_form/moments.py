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


class CodeMoments(NamedTuple):
    """Sums over the scored tokens, those with `lags` earlier tokens in their own document."""

    tokens: float
    sum_lk: jax.Array  # sum_t z_{t-h}; here index 0 of `l` is lag 0
    cross_lkk: tuple[jax.Array, ...]  # S_{0,h} = sum_t z_t z_{t-h}^T, h = 0 .. lags
    ends: Ends

    @property
    def lags(self) -> int:
        return len(self.cross_lkk) - 1

    @property
    def latents(self) -> int:
        return self.sum_lk.shape[1]


def collect_moments(dictionary: Dictionary, batches: Iterable[Batch], lags: int) -> CodeMoments:
    """Moments of the codes of batches of activations: encoded as they come, kept as sums.

    A batch may be sharded over a mesh by its sequences. Processes that each read their own batches `merge` their sums.

    Raises:
      ValueError: no token has `lags` earlier tokens in its own document.
    """
    encoded = jax.jit(encode)
    codes = ((encoded(dictionary, batch.x_btd), jnp.asarray(batch.document_bt)) for batch in batches)
    return code_moments(codes, lags, active_latents(dictionary))


def active_latents(dictionary: Dictionary) -> int:
    """Latents of a token that can be other than zero, where the activation fixes their number; else all."""
    return dictionary.topk if dictionary.activation in ("topk", "relu_topk") else dictionary.encoder_kd.shape[0]


def code_moments(codes: Iterable[tuple[Array, Array]], lags: int, active: int) -> CodeMoments:
    """Moments of batches (z_btk, document_bt) of which at most `active` latents a token are not zero; see above."""
    sums, ends = None, []
    for z_btk, document_bt in codes:
        if sums is None:
            sums = _nothing(z_btk.shape[-1], lags)
        sums, index_bta, value_bta, scored_bt = _add_batch(*sums, z_btk, document_bt, active)
        ends.append(_ends(np.asarray(scored_bt), np.asarray(index_bta), np.asarray(value_bta), lags))
    if sums is None or not float(sums[0][0]):
        raise ValueError(f"lags={lags}: no token has so many earlier ones in its own document; lower lags")
    tokens, sum_lk, *cross_lkk = sums[0]
    return CodeMoments(float(tokens), sum_lk, tuple(cross_lkk), _joined(ends))


def merge(first: CodeMoments, second: CodeMoments) -> CodeMoments:
    """The moments of two texts together."""
    cross_lkk = tuple(map(jnp.add, first.cross_lkk, second.cross_lkk))
    ends = _joined([first.ends, second.ends])
    return CodeMoments(first.tokens + second.tokens, first.sum_lk + second.sum_lk, cross_lkk, ends)


Sums = tuple[jax.Array, ...]
"""Count, sums of z, and S_{0,h} lag by lag."""


def _nothing(latents: int, lags: int) -> tuple[Sums, Sums]:
    """Sums over nothing, and what float32 additions lost of them."""
    shapes = [(), (lags + 1, latents), *[(latents, latents)] * (lags + 1)]
    total, lost = (tuple(jnp.zeros(shape) for shape in shapes) for _ in range(2))
    return total, lost


@functools.partial(jax.jit, static_argnames="active", donate_argnums=(0, 1))
def _add_batch(
    sums: Sums, lost: Sums, z_btk: Array, document_bt: Array, active: int
) -> tuple[tuple[Sums, Sums], jax.Array, jax.Array, jax.Array]:
    """The sums with one more batch, its active latents and their values, and its scored tokens."""
    lags, latents = len(sums) - 3, z_btk.shape[-1]
    document_bt = jnp.asarray(document_bt)
    scored_bt = jax.vmap(history, (0, None))(document_bt, lags)
    z_btk = jnp.where(document_bt[..., None] >= 0, z_btk, 0)
    index_bta = jax.lax.top_k(jnp.abs(z_btk), active)[1]
    value_bta = jnp.take_along_axis(z_btk, index_bta, axis=-1)

    def earlier(values_bt: jax.Array, lag: int) -> jax.Array:
        return jnp.roll(values_bt, lag, axis=1)  # what wraps round is never scored

    def product(lag: int) -> jax.Array:
        if active * SCATTERED > latents:
            scored_btk = jnp.where(scored_bt[..., None], z_btk, 0).reshape(-1, latents)
            return jnp.matmul(scored_btk.T, earlier(z_btk, lag).reshape(-1, latents), precision="highest")
        scored_bta = jnp.where(scored_bt[..., None], value_bta, 0)
        place = index_bta[..., :, None] * latents + earlier(index_bta, lag)[..., None, :]
        value = scored_bta[..., :, None] * earlier(value_bta, lag)[..., None, :]
        return jnp.zeros(latents**2).at[place.reshape(-1)].add(value.reshape(-1)).reshape(latents, latents)

    sum_lk = [jnp.where(scored_bt[..., None], earlier(z_btk, lag), 0).sum((0, 1)) for lag in range(lags + 1)]
    terms = (scored_bt.sum(), jnp.stack(sum_lk), *map(product, range(lags + 1)))
    sums, lost = zip(*map(compensated, sums, lost, terms), strict=True)
    return (sums, lost), index_bta, value_bta, scored_bt


def _ends(scored_bt: np.ndarray, index_bta: np.ndarray, value_bta: np.ndarray, lags: int) -> Ends:
    """Where runs of scored tokens begin and end in a batch."""
    after_bt = np.pad(scored_bt[:, 1:], ((0, 0), (0, 1))).astype(np.int8)
    change_bt = after_bt - scored_bt
    b_n, s_n = np.nonzero(change_bt)
    window_nl = np.maximum(s_n[:, None] - np.arange(lags), 0)
    return Ends(change_bt[b_n, s_n], index_bta[b_n[:, None], window_nl], value_bta[b_n[:, None], window_nl])


def _joined(ends: list[Ends]) -> Ends:
    return Ends(*map(np.concatenate, zip(*ends, strict=True)))
