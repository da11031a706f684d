"""One pass over data that measures the innovations of a fit, and how much of the activations its concepts explain."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from tcr_jax.dictionary import decode, encode
from tcr_jax.identify.density import Overlaps, basis, overlaps, scores_from
from tcr_jax.identify.errors import NotIdentifiable
from tcr_jax.identify.innovations import BACK, LARGEST_SQUARE, Innovations
from tcr_jax.identify.types import Batches
from tcr_jax.params import Params
from tcr_jax.process import history, innovations
from tcr_jax.typing import DROPPED, Array


class _Standard(NamedTuple):
    """What the sums are about: the first batch's mean, scale, and mean square, and its largest activation."""

    mean_k: jax.Array
    scale_k: jax.Array
    square_k: jax.Array
    largest: jax.Array


class _Sums(struct.PyTreeNode):
    pairs_h: jax.Array
    sum_k: jax.Array
    square_sum_k: jax.Array
    product_hkk: jax.Array
    square_product_hkk: jax.Array
    fourth_k: jax.Array
    overlaps: Overlaps  # of the basis of score functions
    kept: jax.Array
    x_sum_d: jax.Array
    x_gram_dd: jax.Array
    error: jax.Array


def measure(params: Params, batches: Batches, fitted: float | None = None) -> Innovations:
    """Of parameters fitted to so many tokens; by default to as many as there are here.

    The information is the largest that score functions in the span of `density.basis` see.

    Raises:
      NotIdentifiable: the data are of another width, no token has as many earlier ones in its document as the process
        has lags, or the innovations are not finite.
    """
    standard: _Standard | None = None
    sums: _Sums | None = None
    width = params.dictionary.decoder_kd.shape[1]
    for x_btd, document_bt in batches():
        if x_btd.shape[-1] != width:
            raise NotIdentifiable(
                f"activations have {x_btd.shape[-1]} channels and the parameters {width}: give data of the same kind"
            )
        if standard is None:
            standard = _standard(params, x_btd, document_bt)
        new = _sums(params, standard, x_btd, document_bt)
        sums = new if sums is None else _add(sums, new)
    if sums is None or standard is None or sums.pairs_h[0] < 2:
        raise NotIdentifiable(
            f"no two tokens have the {_lags(params)} earlier ones that the process reads in their own document: "
            "give longer documents"
        )
    broken = np.flatnonzero(~np.isfinite(np.asarray(sums.sum_k)))
    if len(broken):
        raise NotIdentifiable(
            f"innovations of {len(broken)} concepts are not finite, {broken[0]} the first: "
            "the activations or the parameters hold NaN or infinity, or are too large"
        )
    figures = jax.device_get(_figures(sums, standard))
    return Innovations(**figures, fitted=float(sums.pairs_h[0]) if fitted is None else fitted)


def _lags(params: Params) -> int:
    return 0 if params.process.b_lkk is None else len(params.process.b_lkk)


@jax.jit
def _standard(params: Params, x_btd: Array, document_bt: Array) -> _Standard:
    e_btk, scored_bt = _innovations(params, encode(params.dictionary, x_btd), document_bt)
    mean_k = jnp.mean(e_btk, (0, 1), where=scored_bt[..., None])
    unit_k = _or_one(jnp.max(jnp.abs(e_btk), (0, 1), where=scored_bt[..., None], initial=0))  # whose square is finite
    scale_k = _or_one(unit_k * jnp.std(e_btk / unit_k, (0, 1), where=scored_bt[..., None]))
    square_btk = _clipped((e_btk - mean_k) / scale_k)
    centred_btd = jnp.where(document_bt[..., None] >= 0, x_btd - params.dictionary.mean_d, 0)
    largest = _or_one(jnp.abs(centred_btd).max())
    standard = _Standard(mean_k, scale_k, jnp.mean(square_btk, (0, 1), where=scored_bt[..., None]), largest)
    unknown = _Standard(jnp.zeros_like(mean_k), jnp.ones_like(mean_k), jnp.ones_like(mean_k), largest)
    return jax.tree.map(lambda value, default: jnp.where(scored_bt.any(), value, default), standard, unknown)


def _or_one(size: jax.Array) -> jax.Array:
    """What may be divided by."""
    return jnp.where(size > 0, size, 1)


def _innovations(params: Params, z_btk: jax.Array, document_bt: Array) -> tuple[jax.Array, jax.Array]:
    """And which tokens they mean something at."""
    with jax.default_matmul_precision("highest"):
        e_btk = jax.vmap(innovations, in_axes=(None, 0, 0))(params.process, z_btk, document_bt)
    return e_btk, jax.vmap(history, in_axes=(0, None))(document_bt, _lags(params))


def _clipped(y: jax.Array) -> jax.Array:
    return jnp.minimum(jnp.square(y), LARGEST_SQUARE)


@jax.jit
def _sums(params: Params, standard: _Standard, x_btd: Array, document_bt: Array) -> _Sums:
    """Of a batch."""
    with jax.default_matmul_precision("highest"):
        kept_bt = document_bt >= 0
        x_btd = jnp.where(kept_bt[..., None], x_btd - params.dictionary.mean_d, 0)
        z_btk = encode(params.dictionary, x_btd + params.dictionary.mean_d)
        error_btd = (decode(params.dictionary, z_btk) - params.dictionary.mean_d - x_btd) / standard.largest
        x_btd = x_btd / standard.largest
        e_btk, scored_bt = _innovations(params, z_btk, document_bt)
        scored_btk = scored_bt[..., None]
        y_btk = jnp.where(scored_btk, (e_btk - standard.mean_k) / standard.scale_k, 0)
        square_btk = jnp.where(scored_btk, _clipped(y_btk) - standard.square_k, 0)
        document_bt = jnp.where(scored_bt, document_bt, DROPPED)
        flat_nk, scored_n1 = y_btk.reshape(-1, y_btk.shape[-1]), scored_btk.reshape(-1, 1)

        def total(value_btk: jax.Array) -> jax.Array:
            return jnp.sum(value_btk, (0, 1), where=scored_btk)

        pairs = [_pairs(document_bt, back) for back in range(BACK + 1)]
        return _Sums(
            pairs_h=jnp.stack([pair_bt.sum(dtype=jnp.float32) for pair_bt in pairs]),
            sum_k=total(y_btk),
            square_sum_k=total(square_btk),
            product_hkk=_products(y_btk, pairs),
            square_product_hkk=_products(square_btk, pairs),
            fourth_k=total(y_btk**4),
            overlaps=overlaps([(h_nk, jnp.where(scored_n1, slope_nk, 0)) for h_nk, slope_nk in basis(flat_nk)]),
            kept=kept_bt.sum(dtype=jnp.float32),
            x_sum_d=x_btd.sum((0, 1)),
            x_gram_dd=jnp.einsum("btd,bte->de", x_btd, x_btd),
            error=jnp.sum(jnp.square(error_btd), where=kept_bt[..., None]),
        )


def _pairs(document_bt: jax.Array, back: int) -> jax.Array:
    """Which tokens, from number `back` on, can be compared with the one so many earlier."""
    now_bt, earlier_bt = document_bt[:, back:], document_bt[:, : max(document_bt.shape[1] - back, 0)]
    return (now_bt == earlier_bt) & (now_bt >= 0)


def _products(value_btk: jax.Array, pairs: list[jax.Array]) -> jax.Array:
    """sum_t v_t v_{t-h}^T, for every h."""
    tokens = value_btk.shape[1]
    return jnp.stack(
        [
            jnp.einsum("bti,btj->ij", value_btk[:, back:] * pair_bt[..., None], value_btk[:, : max(tokens - back, 0)])
            for back, pair_bt in enumerate(pairs)
        ]
    )


@functools.partial(jax.jit, donate_argnums=0)
def _add(sums: _Sums, new: _Sums) -> _Sums:
    return jax.tree.map(jnp.add, sums, new)


@jax.jit
def _figures(sums: _Sums, standard: _Standard) -> dict[str, Any]:
    """Fields of `Innovations`."""
    count, pairs_h = sums.pairs_h[0], jnp.maximum(sums.pairs_h, 1)[:, None, None]

    def correlation(product_hkk: jax.Array, mean_k: jax.Array) -> jax.Array:
        covariance_hkk = product_hkk / pairs_h - jnp.outer(mean_k, mean_k)
        scale_k = jnp.sqrt(jnp.maximum(jnp.diag(covariance_hkk[0]), jnp.finfo(jnp.float32).tiny))
        return covariance_hkk / scale_k / scale_k[:, None]

    mean_k = sums.sum_k / count
    variance_k = jnp.diag(sums.product_hkk[0]) / count
    scores = scores_from(sums.overlaps, count)
    seen_k = jnp.einsum("km,mk->k", sums.overlaps.slope_km, scores.weight_mk) / count
    x_mean_d = sums.x_sum_d / sums.kept
    x_covariance_dd = sums.x_gram_dd / sums.kept - jnp.outer(x_mean_d, x_mean_d)
    variance = jnp.trace(x_covariance_dd)
    return {
        "pairs_h": sums.pairs_h,
        "correlation_hkk": correlation(sums.product_hkk, mean_k),
        "square_correlation_hkk": correlation(sums.square_product_hkk, sums.square_sum_k / count),
        "scale_k": standard.scale_k * jnp.sqrt(variance_k - mean_k**2),
        "information_k": variance_k * seen_k,
        "kurtosis_k": sums.fourth_k / count / jnp.maximum(variance_k, jnp.finfo(jnp.float32).tiny) ** 2 - 3,
        "effective_rank": variance**2 / jnp.sum(jnp.square(x_covariance_dd)),
        "unexplained": sums.error / sums.kept / variance,
    }
