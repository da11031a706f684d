"""What held-out text says about the relations: every sum that the report needs, in one streaming pass.

Only tokens with their whole history are scored. A lag costs three [k, k] products and no window is ever copied.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tcr_jax.dictionary import encode
from tcr_jax.params import Params
from tcr_jax.process import history, predict, reduced_past
from tcr_jax.store import Batch
from tcr_jax.typing import Array


@struct.dataclass
class Moments:
    """Sums of v, v^2 and |v| over the scored tokens, for each concept."""

    sum_k: Array
    square_k: Array
    absolute_k: Array


@struct.dataclass
class Pairs:
    """Sums over scored tokens t for target i at t and source j at t - l; the past carries a leading axis of lags.

    `part` is what the whole matrix contributes, W z_{t-l}.
    """

    fires_k: Array  # count of z_j(t-l) != 0
    source: Moments  # of z_j(t-l)
    joint_kk: Array  # count of z_i(t) != 0 and z_j(t-l) != 0
    cross_kk: Array  # sum of eps_i(t) z_j(t-l)
    part: Moments
    part_cross_k: Array  # sum of eps_i(t) part_i(t)


@struct.dataclass
class Evidence:
    """All sums of the report. `past` and `present` are None where the process lacks that part."""

    tokens: Array
    fires_k: Array
    z: Moments
    past: Pairs | None
    present: Pairs | None
    errors: dict[str, Moments]  # z - prediction, for each predictor of `gather`


@partial(jax.jit, static_argnames="lags")
def _sums(params: Params, x_btd: Array, document_bt: Array, lags: int) -> Evidence:
    process = params.process
    z_btk = encode(params.dictionary, x_btd)
    prediction = jax.vmap(predict, (None, 0, 0))(process, z_btk, document_bt)
    scored_bt1 = jax.vmap(history, (0, None))(document_bt, lags)[..., None]
    eps_btk = jnp.where(scored_bt1, z_btk - prediction.past_tk - prediction.present_tk, 0)
    fires_btk = jnp.where(scored_bt1, z_btk != 0, 0).astype(jnp.float32)

    def moments(v_btk: jax.Array) -> Moments:
        v_btk = jnp.where(scored_bt1, v_btk, 0)
        return Moments(v_btk.sum((0, 1)), (v_btk**2).sum((0, 1)), jnp.abs(v_btk).sum((0, 1)))

    def pairs(weight_kk: jax.Array, z_btk: jax.Array) -> Pairs:
        z_btk = jnp.where(scored_bt1, z_btk, 0)
        part_btk = jnp.einsum("btj,ij->bti", z_btk, weight_kk.astype(jnp.float32))
        firing_btk = (z_btk != 0).astype(jnp.float32)
        return Pairs(
            fires_k=firing_btk.sum((0, 1)).astype(jnp.int32),
            source=moments(z_btk),
            joint_kk=jnp.einsum("bti,btj->ij", fires_btk, firing_btk).astype(jnp.int32),
            cross_kk=jnp.einsum("bti,btj->ij", eps_btk, z_btk),
            part=moments(part_btk),
            part_cross_k=(eps_btk * part_btk).sum((0, 1)),
        )

    def lag_pairs(own_btk: jax.Array, lag: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Pairs]:
        index, b_kk = lag
        earlier_btk = jnp.roll(z_btk, index + 1, axis=1)  # what wraps round is never scored
        return own_btk + earlier_btk * jnp.diag(b_kk), pairs(b_kk, earlier_btk)

    own_btk, past = jnp.zeros_like(z_btk), None
    if process.b_lkk is not None:
        own_btk, past = jax.lax.scan(lag_pairs, own_btk, (jnp.arange(lags), process.b_lkk))
    reduced_btk = jax.vmap(reduced_past, (None, 0))(process, prediction.past_tk)
    errors = {
        "own past": moments(z_btk - own_btk),
        "past": moments(z_btk - prediction.past_tk),
        "past, through M": moments(z_btk - reduced_btk),
        "present": moments(z_btk - prediction.present_tk),
        "past and present": moments(eps_btk),
    }
    return Evidence(
        tokens=scored_bt1.sum(),
        fires_k=fires_btk.sum((0, 1)).astype(jnp.int32),
        z=moments(z_btk),
        past=past,
        present=None if process.m_kk is None else pairs(process.m_kk, z_btk),
        errors=errors,
    )


@partial(jax.jit, donate_argnums=0)
def _add(total: Any, new: Any) -> Any:
    return jax.tree.map(jnp.add, total, new)


def gather(params: Params, batches: Iterable[Batch], on_batch: Callable[[], None] | None = None) -> Evidence | None:
    """One pass over held-out batches.

    Args:
      params: dictionary and process.
      batches: all of one shape, with positions of other splits dropped.
      on_batch: called after each batch.

    Returns:
      `Evidence` on the host, counts int32 and sums float32; None where not one token has its whole history inside one
      document.
    """
    lags = 0 if params.process.b_lkk is None else len(params.process.b_lkk)
    total = None
    with jax.default_matmul_precision("float32"):
        for batch in batches:
            new = _sums(params, batch.x_btd, batch.document_bt, lags)
            total = new if total is None else _add(total, new)
            if on_batch is not None:
                on_batch()
    return jax.tree.map(np.asarray, total) if total is not None and int(total.tokens) else None


def merge(first: Evidence | None, second: Evidence | None) -> Evidence | None:
    """The evidence of two texts together; None adds nothing."""
    if first is None or second is None:
        return first or second
    merged: Evidence = jax.tree.map(np.add, first, second)
    return merged
