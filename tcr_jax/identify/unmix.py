"""From activations to independent innovations, a batch at a time: whitening, autoregression, ICA, likelihood.

Four readings of the data. Between them only matrices are kept, and for ICA as many residuals as its start needs.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tcr_jax.identify.autoregression import whitening_regression
from tcr_jax.identify.components import components
from tcr_jax.identify.density import Scores
from tcr_jax.identify.errors import NotIdentifiable
from tcr_jax.identify.lagged import lagged
from tcr_jax.identify.likelihood import add_gradient, newton_step, no_gradient, unit_variance
from tcr_jax.identify.moments import add_moments, no_moments
from tcr_jax.identify.parts import most_parts
from tcr_jax.identify.source import broken
from tcr_jax.identify.stages import Arrays, Stages
from tcr_jax.identify.types import Batches, Say
from tcr_jax.identify.whitening import whiten
from tcr_jax.typing import DROPPED


class Unmixed(NamedTuple):
    """e = from_lagged_kf (f - mean_f), f = [w_t, .., w_{t-l}] with w = to_white_kd (x - mean_d); double precision."""

    mean_d: np.ndarray
    to_white_kd: np.ndarray
    from_lagged_kf: np.ndarray
    mean_f: np.ndarray
    covariance_ff: np.ndarray
    information_k: np.ndarray
    stein_k: np.ndarray  # E[phi'(e)] / E[phi(e) e], scores phi: 1 for a Gaussian, whatever phi is (Stein's identity)
    tokens: float  # with full history
    settled: bool  # whether ICA came to rest


def unmix(
    batches: Batches, latents: int | None, lags: int, seed: int, mesh: Mesh | None, stages: Stages, say: Say
) -> Unmixed:
    """Stages `moments`, `components` and `unmixed`; of these the last alone is needed to go on from it."""
    arrays = stages.run("unmixed", lambda: _unmix(batches, latents, lags, seed, mesh, stages, say))
    numbers: dict[str, Any] = {"tokens": float(arrays["tokens"]), "settled": bool(arrays["settled"])}
    return Unmixed(**(arrays | numbers))


def _unmix(
    batches: Batches, latents: int | None, lags: int, seed: int, mesh: Mesh | None, stages: Stages, say: Say
) -> Arrays:
    tokens = next(batches())[0].shape[1]
    if tokens <= lags:
        raise NotIdentifiable(f"sequences of {tokens} tokens are too short for lags={lags}: lower it, or join them")
    first_nd = _first_tokens(batches)
    if not np.isfinite(first_nd).all():
        raise NotIdentifiable(broken(batches))
    whitening = whiten(first_nd, latents)
    k = len(whitening.to_white_kd)
    to_white_kd, mean_d = jnp.float32(whitening.to_white_kd), jnp.float32(whitening.mean_d)

    @jax.jit
    def whitened(x_btd: jax.Array) -> jax.Array:
        return jnp.matmul(x_btd - mean_d, to_white_kd.T, precision="highest")

    def white() -> Iterator[tuple[jax.Array, jax.Array]]:
        for x_btd, document_bt in batches():
            if mesh is not None:
                rows = ((0, -len(x_btd) % mesh.shape["data"]), (0, 0))
                x_btd = jnp.pad(x_btd, (*rows, (0, 0)))
                document_bt = jnp.pad(document_bt, rows, constant_values=DROPPED)
                x_btd, document_bt = jax.device_put((x_btd, document_bt), NamedSharding(mesh, P("data")))
            yield whitened(x_btd), document_bt

    def all_moments() -> Arrays:
        moments = no_moments(k, lags)
        for w_btk, document_bt in white():
            moments = add_moments(moments, w_btk, document_bt)
        _check_count(int(moments.count), k, lags)
        sums = {name: np.asarray(getattr(moments, name)) for name in ("count", "sum_f", "gram_ff")}
        if not np.isfinite(sums["gram_ff"]).all():
            raise NotIdentifiable(broken(batches))
        return sums

    say(f"{k} concepts, white; summing the moments of {lags} lags")
    sums = jax.tree.map(jnp.asarray, stages.run("moments", all_moments))
    moments = no_moments(k, lags).replace(**sums)
    start_kf, mean_f = whitening_regression(moments), moments.mean_f
    if not np.isfinite(start_kf).all():
        raise NotIdentifiable(
            f"the past of {lags} lags is singular: {int(moments.count):,} tokens are too few, some concept repeats "
            "itself exactly, or activations grow without end (the last quarter of the first sequences is "
            f"{_growth(batches):.3g} times as large as the first); give more tokens, lower lags or latents, or "
            "difference the activations"
        )

    def in_memory() -> Arrays:
        devices = 1 if mesh is None else mesh.shape["data"]
        residual_nk = _residuals(white, start_kf, mean_f, lags, int(moments.count), devices)
        say(f"independent components of {len(residual_nk):,} residuals")
        on_nk = None if mesh is None else NamedSharding(mesh, P("data"))
        return components(jax.device_put(residual_nk, on_nk), jax.random.key(seed), say)

    found = stages.run("components", in_memory)
    scores = Scores(jnp.asarray(found["weight_mk"]))
    q_kf = unit_variance(jnp.matmul(found["unmixing_kk"], start_kf, precision="highest"), moments)
    for reading in range(2):
        gradient = no_gradient(k, len(mean_f))
        for w_btk, document_bt in white():
            gradient = add_gradient(gradient, q_kf, mean_f, scores, w_btk, document_bt)
        stein_k = gradient.slope_k / jnp.einsum("kf,kf->k", gradient.cross_kf, q_kf, precision="highest")
        q_kf, information_k, largest = newton_step(q_kf, gradient, moments)
        say(f"likelihood of all {int(moments.count):,} tokens: step {reading + 1}, largest change {float(largest):.1e}")
    return {
        "mean_d": whitening.mean_d,
        "to_white_kd": whitening.to_white_kd,
        "from_lagged_kf": np.asarray(q_kf, np.float64),
        "mean_f": np.asarray(mean_f, np.float64),
        "covariance_ff": np.asarray(moments.covariance_ff, np.float64),
        "information_k": np.asarray(information_k, np.float64),
        "stein_k": np.asarray(stein_k, np.float64),
        "tokens": np.asarray(moments.count),
        "settled": found["settled"],
    }


def _first_tokens(batches: Batches) -> np.ndarray:
    """Enough tokens to find white coordinates: eight a channel, and 8,192 at least, where there are as many."""
    parts: list[np.ndarray] = []
    for x_btd, document_bt in batches():
        parts.append(np.asarray(x_btd)[np.asarray(document_bt) >= 0])
        if sum(map(len, parts)) >= max(8 * x_btd.shape[-1], 8192):
            break
    if not sum(map(len, parts)):
        raise NotIdentifiable("no token is kept: give activations with documents that are not all dropped")
    return np.concatenate(parts)


def _growth(batches: Batches) -> float:
    """Root mean square of the last quarter of the first batch's sequences, over that of the first quarter."""
    x_btd = np.asarray(next(batches())[0], np.float64)
    quarter = max(x_btd.shape[1] // 4, 1)
    first, last = (np.sqrt(np.square(part_btd).mean()) for part_btd in (x_btd[:, :quarter], x_btd[:, -quarter:]))
    return float(last / max(first, np.finfo(np.float64).tiny))


def _check_count(count: int, latents: int, lags: int) -> None:
    needed = 2 * (lags + 1) * latents
    if count < needed:
        raise NotIdentifiable(
            f"{count:,} tokens have {lags} earlier ones in their document; {latents} concepts and {lags} lags need "
            f"{needed:,} at the very least, and some {max(latents**2 // 8, needed):,} to find their directions: give "
            "more or longer documents, or lower latents or lags"
        )


def _residuals(
    white: Batches, from_lagged_kf: jax.Array, mean_f: jax.Array, lags: int, count: int, devices: int
) -> np.ndarray:
    """White residuals of tokens from all over the data: k^2 / 2 of them, and 200,000 at least, as far as there are.

    Less the few that would not spread evenly over devices, and there over parts.
    """

    @jax.jit
    def residual(w_btk: jax.Array, document_bt: jax.Array) -> tuple[jax.Array, jax.Array]:
        lagged_nf, scored_n = lagged(w_btk, document_bt, lags)
        return jnp.matmul(lagged_nf - mean_f, from_lagged_kf.T, precision="highest"), scored_n

    k = len(from_lagged_kf)
    wanted = min(max(k**2 // 2, 200_000), count)
    wanted -= wanted % (devices * most_parts(wanted, k))
    taken_nk, filled, seen = np.empty((wanted, k), np.float32), 0, 0
    for w_btk, document_bt in white():
        residual_nk, scored_n = map(np.asarray, residual(w_btk, document_bt))
        residual_nk = residual_nk[scored_n]
        taken_n = np.diff(np.arange(seen, seen + len(residual_nk) + 1) * wanted // count)  # evenly spaced, 0 or 1
        seen += len(residual_nk)
        if seen > count:
            break
        residual_nk = residual_nk[taken_n > 0]
        taken_nk[filled : filled + len(residual_nk)] = residual_nk
        filled += len(residual_nk)
    if seen != count:
        raise NotIdentifiable(
            f"the stream has {'more' if seen > count else 'fewer'} tokens than the {count:,} of its first reading: "
            "give the same batches each time, or another workdir"
        )
    return taken_nk
