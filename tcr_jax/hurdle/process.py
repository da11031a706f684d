"""The hurdle process: whether a concept fires, and how strongly, from earlier tokens and from the same token.

    eta_i(t) = a_i + sum_lc B_lc[i] u_c(z_{t-l}) + sum_c M_c[i] u_c(z_t)    a `Link`, one for each of
    fires:   log odds of z_i(t) != 0                 = eta_i(t)
    sign:    log odds of z_i(t) > 0, where it fires  = eta_i(t)
    size:    log(|z_i(t)| / unit_i), where it fires  ~ Normal(eta_i(t), spread_i^2)

u_c are the channels of a concept: 1[z > 0], 1[z < 0], and, where asked for, z / unit. Beyond single tokens back, the
past may hold memories, each of which fades at a rate of its own: s_t = decay s_{t-1} + u_t in a document. M is acyclic:
M_c[i, j] is zero unless j comes before i in one order of the concepts, so that the product over concepts is the
likelihood of the whole code. Matrices are [target, source].

Further to the legend of `tcr_jax.typing`: `c` channels, `i` the concepts that are predicted, `f` all features of a
token, `n` tokens.
"""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tcr_jax.identify.lagged import lagged
from tcr_jax.typing import Array

Codes = tuple[Array | np.ndarray, Array | np.ndarray]
"""z_btk and document_bt."""


class Link(struct.PyTreeNode):
    """A linear predictor of the concepts i from the channels of all concepts k, exactly zero where there is no edge.

    The axis `l` of B holds the lags 1, 2, .. and then the memories, which end at the token before.
    """

    b_lcik: Array
    m_cik: Array
    intercept_i: Array

    def predict(self, feature_nf: Array) -> jax.Array:
        """eta_ni, from `features`."""
        weight_lcik = jnp.concatenate([self.m_cik[None], self.b_lcik])
        weight_if = jnp.moveaxis(weight_lcik, 2, 0).reshape(len(self.intercept_i), -1)
        return feature_nf @ weight_if.T + self.intercept_i

    def edges(self) -> tuple[jax.Array, jax.Array]:
        """Which entries of B [l, i, k] and of M [i, k] are not zero, in any channel."""
        return (self.b_lcik != 0).any(axis=1), (self.m_cik != 0).any(axis=0)


class HurdleProcess(struct.PyTreeNode):
    """Three links over the same features. `base_process` makes one without edges, `fit_hurdle` learns them."""

    fires: Link
    sign: Link
    size: Link
    spread_i: Array  # standard deviation of log |z / unit| about its prediction, where the concept fires
    unit_k: Array  # root mean square of z where a concept fires
    rate_ck: Array  # mean of every channel
    target_i: Array  # the concepts predicted, int32: all, or a sample
    sizes: bool = struct.field(pytree_node=False, default=False)  # whether z / unit is a channel too
    decays: tuple[float, ...] = struct.field(pytree_node=False, default=())  # of the memories

    @property
    def lags(self) -> int:
        return len(self.fires.b_lcik) - len(self.decays)


def features(process: HurdleProcess, z_btk: Array, document_bt: Array, lags: int) -> tuple[jax.Array, jax.Array]:
    """The channels of every token and of its past, as `Link.predict` wants them.

    Args:
      lags: history that a token must have to be scored; no less than the process's.

    Returns:
      feature_nf: zero where a token lacks part of its history.
      scored_n: which tokens have all of it in their own document.
    """
    u_btck = _channels(z_btk, process.unit_k, process.sizes)
    u_btf, document_bt = u_btck.reshape(*u_btck.shape[:2], -1), jnp.asarray(document_bt)
    feature_nf, scored_n = lagged(u_btf, document_bt, lags)
    parts = [feature_nf[:, : (process.lags + 1) * u_btf.shape[-1]]]
    for decay in process.decays:
        memory_btf = _memory(u_btf, document_bt, decay)[:, lags - 1 : -1]
        parts.append(jnp.where(scored_n[:, None], memory_btf.reshape(parts[0].shape[0], -1), 0))
    return jnp.concatenate(parts, axis=1), scored_n


def base_process(
    batches: Iterable[Codes],
    lags: int,
    *,
    sizes: bool = False,
    decays: Sequence[float] = (),
    targets: Array | np.ndarray | None = None,
) -> HurdleProcess:
    """No edges: every concept fires at its own rate, with its own share of signs, and its own mean size. One pass.

    Args:
      batches: codes of training documents.
      lags: tokens back that B has room for.
      sizes: whether z / unit is a channel.
      decays: of memories that B has room for besides, each between 0 and 1.
      targets: concepts predicted; all by default. A random sample estimates sums over all at a fraction of the cost.

    Raises:
      ValueError: no token was kept, a target is no concept, or a decay cannot be.
    """
    if decays and not (lags and all(0 < decay < 1 for decay in decays)):
        raise ValueError(f"decays={tuple(decays)} with lags={lags}: each must lie between 0 and 1, with a lag at least")
    total = None
    for z_btk, document_bt in batches:
        sums = _sums(z_btk, document_bt)
        total = sums if total is None else jax.tree.map(jnp.add, total, sums)
    if total is None or total[0] == 0:
        raise ValueError("the batches hold no kept token: give training documents, with document_bt >= 0 where kept")
    tokens, fires_k, positive_k, square_k, sum_k, log_k, log_square_k = total
    k = len(fires_k)
    target_i = jnp.arange(k) if targets is None else jnp.asarray(targets)
    if not bool(((target_i >= 0) & (target_i < k)).all()):
        raise ValueError(f"targets={target_i.tolist()[:5]}.. must be concepts, from 0 to {k - 1}")
    count_k = jnp.maximum(fires_k, 1)
    unit_k = jnp.where(fires_k > 0, jnp.sqrt(square_k / count_k), 1.0)
    mean_k = log_k / count_k
    spread_k = jnp.sqrt(jnp.maximum(log_square_k / count_k - mean_k**2, 1e-4))
    room = (2 + sizes, len(target_i), k)

    def link(intercept_k: jax.Array) -> Link:
        return Link(jnp.zeros((lags + len(decays), *room)), jnp.zeros(room), intercept_k[target_i])

    rates = [positive_k, fires_k - positive_k] + ([sum_k / unit_k] if sizes else [])
    return HurdleProcess(
        fires=link(_log_odds(fires_k, tokens)),
        sign=link(_log_odds(positive_k, fires_k)),
        size=link(mean_k - jnp.log(unit_k)),
        spread_i=spread_k[target_i],
        unit_k=unit_k,
        rate_ck=jnp.stack(rates) / tokens,
        target_i=target_i,
        sizes=sizes,
        decays=tuple(decays),
    )


def _channels(z_btk: Array, unit_k: Array, sizes: bool) -> jax.Array:
    """u_c(z), [b, t, c, k]."""
    z_btk = jnp.asarray(z_btk, jnp.float32)
    parts = [z_btk > 0, z_btk < 0] + ([z_btk / unit_k] if sizes else [])
    return jnp.stack([part.astype(jnp.float32) for part in parts], axis=-2)


def _memory(u_btf: jax.Array, document_bt: jax.Array, decay: float) -> jax.Array:
    """s_t = decay s_{t-1} + u_t within a document, in units in which it would vary as u does, were u white."""
    same_bt = jnp.pad(document_bt[:, 1:] == document_bt[:, :-1], ((0, 0), (1, 0))) & (document_bt >= 0)

    def step(s_bf: jax.Array, token: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        same_b, u_bf = token
        s_bf = jnp.where(same_b[:, None], decay * s_bf, 0) + u_bf
        return s_bf, s_bf

    _, s_tbf = jax.lax.scan(step, jnp.zeros_like(u_btf[:, 0]), (same_bt.T, jnp.moveaxis(u_btf, 1, 0)))
    return jnp.moveaxis(s_tbf, 0, 1) * (1 - decay**2) ** 0.5


def _log_odds(count: jax.Array, total: jax.Array) -> jax.Array:
    """Of a share, half a count added to both sides: finite where nothing, or everything, was seen."""
    return jnp.log(count + 0.5) - jnp.log(total - count + 0.5)


@jax.jit
def _sums(z_btk: Array, document_bt: Array) -> tuple[jax.Array, ...]:
    kept_bt = jnp.asarray(document_bt) >= 0
    z_btk = jnp.where(kept_bt[..., None], jnp.asarray(z_btk, jnp.float32), 0)
    log_btk = jnp.where(z_btk != 0, jnp.log(jnp.abs(jnp.where(z_btk != 0, z_btk, 1))), 0)
    parts = (z_btk != 0, z_btk > 0, z_btk**2, z_btk, log_btk, log_btk**2)
    return kept_bt.sum().astype(jnp.float32), *(part.sum((0, 1)).astype(jnp.float32) for part in parts)
