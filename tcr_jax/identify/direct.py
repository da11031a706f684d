"""The direct solver: whitening, autoregression, ICA, likelihood, sparsest acyclic M, refinement. No gradient descent.

    w = P (x - mean)                           white, so that float32 is enough            whitening.py
    w_t = sum_l Phi_l w_{t-l} + r_t            least squares on actual lagged pairs        moments.py, autoregression.py
    e = U r                                    independent: ICA, then maximum likelihood   ica.py, likelihood.py
    B'_l = U Phi_l U^{-1} = B_l (I - M)^{-1}   and the acyclic M that makes B sparsest     sparsest.py
    B, M, U                                    the best estimate given what is zero        refine.py

Each concept is as the theory has it: z = (I - M)^{-1} U w, up to order, sign and unit (Song et al. 2025, theorem 3 and
corollary 1). The data are read five times, a batch at a time; between readings only matrices are kept, and for ICA as
many residuals as its start needs.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tcr_jax.identify.autoregression import whitening_regression
from tcr_jax.identify.density import Scores, fit_scores
from tcr_jax.identify.discovery import discovery_threshold
from tcr_jax.identify.errors import NotIdentifiable
from tcr_jax.identify.ica import fast_ica
from tcr_jax.identify.lagged import lagged
from tcr_jax.identify.likelihood import add_gradient, newton_step, no_gradient, unit_variance
from tcr_jax.identify.moments import Moments, add_moments, no_moments
from tcr_jax.identify.refine import Estimate, Evidence, refine
from tcr_jax.identify.sparsest import sparsest_acyclic
from tcr_jax.identify.stages import Arrays, Stages
from tcr_jax.identify.types import Batches
from tcr_jax.identify.whitening import whiten
from tcr_jax.typing import DROPPED

Say = Callable[[str], None]

SETTLED = 2e-3
"""Largest relative Newton step at which the likelihood counts as maximised on the tokens held in memory."""


class Unmixed(NamedTuple):
    """e = from_lagged_kf (f - mean_f), f = [w_t, .., w_{t-l}] with w = to_white_kd (x - mean_d); double precision."""

    mean_d: np.ndarray
    to_white_kd: np.ndarray
    from_lagged_kf: np.ndarray
    mean_f: np.ndarray
    covariance_ff: np.ndarray
    information_k: np.ndarray
    tokens: float  # with full history
    settled: bool  # whether ICA came to rest


class Direct(NamedTuple):
    """The solver's answer, in units of the innovations' standard deviations."""

    unmixed: Unmixed
    b_lkk: np.ndarray
    m_kk: np.ndarray
    draws: Estimate | None  # of the error
    unmixing_kk: np.ndarray  # U


def solve(
    batches: Batches,
    *,
    latents: int | None,
    lags: int,
    seed: int,
    refined: bool,
    draws: int,
    stages: Stages,
    mesh: Mesh | None,
    say: Say,
) -> Direct:
    """See `identify`."""
    unmixed = _unmixed(stages.run("unmixed", lambda: _unmix(batches, latents, lags, seed, mesh, stages, say)))
    return _relate(unmixed, seed, refined, draws, stages, say)


def _unmixed(arrays: Arrays) -> Unmixed:
    numbers: dict[str, Any] = {"tokens": float(arrays["tokens"]), "settled": bool(arrays["settled"])}
    return Unmixed(**(arrays | numbers))


def delayed(unmixed: Unmixed) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """U, B'_l, the covariance of z' over the lags, and the standard errors of B'.

    An entry of B' varies with the autoregression's estimate, by the information a_i of its target's innovation, and
    with the unmixing's: B' turns into B' - E B' + B' E.
    """
    q_kf, n, a_k = unmixed.from_lagged_kf, unmixed.tokens, unmixed.information_k
    k = len(q_kf)
    lags = q_kf.shape[1] // k - 1
    unmixing_kk = q_kf[:, :k]
    inverse_kk = np.linalg.inv(unmixing_kk)
    b_lkk = np.stack([-q_kf[:, lag * k : (lag + 1) * k] @ inverse_kk for lag in range(1, lags + 1)])
    past_lklk = unmixed.covariance_ff[k:, k:].reshape(lags, k, lags, k)
    past_lklk = np.einsum("ia,lamb->limb", unmixing_kk, past_lklk, optimize=True) @ unmixing_kk.T
    past_pp = past_lklk.reshape(lags * k, lags * k)
    precision_p = np.diag(np.linalg.inv(past_pp))
    off_variance_kk = a_k / np.maximum(a_k[:, None] * a_k - 1, 1e-3)  # of E_ij, times n
    np.fill_diagonal(off_variance_kk, 0)
    variance_lkk = precision_p.reshape(lags, 1, k) / a_k[:, None]
    variance_lkk = variance_lkk + off_variance_kk @ b_lkk**2 + b_lkk**2 @ off_variance_kk
    return unmixing_kk, b_lkk, past_pp, np.sqrt(variance_lkk / n)


def _unmix(
    batches: Batches, latents: int | None, lags: int, seed: int, mesh: Mesh | None, stages: Stages, say: Say
) -> Arrays:
    """Everything up to independent innovations."""
    whitening = whiten(_first_tokens(batches), latents)
    k = len(whitening.to_white_kd)
    to_white_kd, mean_d = jnp.float32(whitening.to_white_kd), jnp.float32(whitening.mean_d)

    @jax.jit
    def whitened(x_btd: jax.Array) -> jax.Array:
        return jnp.matmul(x_btd - mean_d, to_white_kd.T, precision="highest")

    def white() -> Iterator[tuple[jax.Array, jax.Array]]:
        for x_btd, document_bt in batches():
            if mesh is not None:
                x_btd, document_bt = jax.device_put((x_btd, document_bt), NamedSharding(mesh, P("data")))
            yield whitened(x_btd), document_bt

    def all_moments() -> Arrays:
        moments = no_moments(k, lags)
        for w_btk, document_bt in white():
            moments = add_moments(moments, w_btk, document_bt)
        return {name: np.asarray(getattr(moments, name)) for name in ("count", "sum_f", "gram_ff")}

    say(f"{k} concepts, white; summing the moments of {lags} lags")
    sums = jax.tree.map(jnp.asarray, stages.run("moments", all_moments))
    moments = no_moments(k, lags).replace(**sums)
    _check_count(int(moments.count), k, lags, moments)
    start_kf, mean_f = whitening_regression(moments), moments.mean_f
    if not jnp.isfinite(start_kf).all():
        raise NotIdentifiable(
            f"the past of {lags} lags is singular: some concept repeats itself exactly, or {int(moments.count):,} "
            "tokens are too few; lower lags or latents, or give more tokens"
        )

    def in_memory() -> Arrays:
        residual_nk = _residuals(white, start_kf, mean_f, lags, int(moments.count))
        say(f"independent components of {len(residual_nk):,} residuals")
        if mesh is not None:
            rows = len(residual_nk) // mesh.shape["data"] * mesh.shape["data"]
            residual_nk = jax.device_put(residual_nk[:rows], NamedSharding(mesh, P("data")))
        return _components(residual_nk, jax.random.key(seed), say)

    found = stages.run("components", in_memory)
    scores = Scores(jnp.asarray(found["weight_mk"]))
    q_kf = unit_variance(jnp.matmul(found["unmixing_kk"], start_kf, precision="highest"), moments)
    for reading in range(2):
        gradient = no_gradient(k, len(mean_f))
        for w_btk, document_bt in white():
            gradient = add_gradient(gradient, q_kf, mean_f, scores, w_btk, document_bt)
        q_kf, information_k, largest = newton_step(q_kf, gradient, moments)
        say(f"likelihood of all {int(moments.count):,} tokens: step {reading + 1}, largest change {float(largest):.1e}")
    return {
        "mean_d": whitening.mean_d,
        "to_white_kd": whitening.to_white_kd,
        "from_lagged_kf": np.asarray(q_kf, np.float64),
        "mean_f": np.asarray(mean_f, np.float64),
        "covariance_ff": np.asarray(moments.covariance_ff, np.float64),
        "information_k": np.asarray(information_k, np.float64),
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


def _check_count(count: int, latents: int, lags: int, moments: Moments) -> None:
    needed = 2 * (lags + 1) * latents
    if count < needed:
        raise NotIdentifiable(
            f"{count:,} tokens have {lags} earlier ones in their document; {latents} concepts and {lags} lags need "
            f"{needed:,} at the very least, and some {max(latents**2 // 8, needed):,} to find their directions: give "
            "more or longer documents, or lower latents or lags"
        )
    if not jnp.isfinite(moments.gram_ff).all():
        raise NotIdentifiable("some activation is NaN, infinite or too large: clean them first")


def _residuals(white: Batches, from_lagged_kf: jax.Array, mean_f: jax.Array, lags: int, count: int) -> jax.Array:
    """White residuals of tokens from all over the data: k^2 / 2 of them, and 200,000 at least, as far as there are."""

    @jax.jit
    def residual(w_btk: jax.Array, document_bt: jax.Array) -> tuple[jax.Array, jax.Array]:
        lagged_nf, scored_n = lagged(w_btk, document_bt, lags)
        return jnp.matmul(lagged_nf - mean_f, from_lagged_kf.T, precision="highest"), scored_n

    wanted = max(len(from_lagged_kf) ** 2 // 2, 200_000)
    every = max(1, count // wanted)
    parts, seen = [], 0
    for w_btk, document_bt in white():
        residual_nk, scored_n = map(np.asarray, residual(w_btk, document_bt))
        residual_nk = residual_nk[scored_n]
        parts.append(residual_nk[-seen % every :: every])
        seen += len(residual_nk)
    return jnp.asarray(np.concatenate(parts))


def _components(residual_nk: jax.Array, key: jax.Array, say: Say) -> Arrays:
    """The unmixing of these residuals: ICA, then Newton's method for the likelihood."""
    k = residual_nk.shape[1]
    covariance_kk = jnp.matmul(residual_nk.T, residual_nk, precision="highest") / len(residual_nk)
    lower_kk = jnp.linalg.cholesky(covariance_kk)
    rewhiten_kk = jax.scipy.linalg.solve_triangular(lower_kk, jnp.eye(k), lower=True)
    residual_nk = jnp.matmul(residual_nk, rewhiten_kk.T, precision="highest")

    rotation_kk, iterations, moving = fast_ica(residual_nk, key, observe=lambda line: say(f"ICA: {line}"))
    settled = moving < 1e-3
    say(f"ICA: {'at rest' if settled else 'NOT at rest'} after {iterations} iterations")
    unmixing_kk, none, chunks = rotation_kk, jnp.zeros(k), _chunks(residual_nk)
    moments = no_moments(k, 0)
    for chunk in chunks:
        moments = add_moments(moments, *chunk)
    for _ in range(10):
        unmixing_kk = unit_variance(unmixing_kk, moments)
        scores = fit_scores(jnp.matmul(residual_nk[:32768], unmixing_kk.T, precision="highest"))
        gradient = no_gradient(k, k)
        for chunk in chunks:
            gradient = add_gradient(gradient, unmixing_kk, none, scores, *chunk)
        unmixing_kk, information_k, largest = newton_step(unmixing_kk, gradient, moments)
        if largest < SETTLED:
            break
    say(f"likelihood: largest change {float(largest):.1e}, information {float(information_k.min()):.2f} at least")
    return {
        "unmixing_kk": np.asarray(jnp.matmul(unmixing_kk, rewhiten_kk, precision="highest")),
        "weight_mk": np.asarray(scores.weight_mk),
        "settled": np.asarray(settled),
    }


def _chunks(residual_nk: jax.Array, rows: int = 2**14) -> list[tuple[jax.Array, jax.Array]]:
    """As batches of one sequence, of one length."""
    size = min(rows, len(residual_nk))
    padding = -len(residual_nk) % size
    chunk_cnk = jnp.pad(residual_nk, ((0, padding), (0, 0))).reshape(-1, 1, size, residual_nk.shape[1])
    document_cn = jnp.where(jnp.arange(len(residual_nk) + padding) < len(residual_nk), 0, DROPPED)
    return list(zip(chunk_cnk, document_cn.reshape(-1, 1, size), strict=True))


def _relate(unmixed: Unmixed, seed: int, refined: bool, draws: int, stages: Stages, say: Say) -> Direct:
    """M, B, and what the zeros among them say of the unmixing."""
    unmixing_kk, b_lkk, past_pp, error_lkk = delayed(unmixed)
    lags, k, _ = b_lkk.shape

    def sparsest() -> Arrays:
        say(f"sparsest acyclic M of {k} concepts")
        return {"m_kk": sparsest_acyclic(b_lkk, error_lkk, observe=say)}

    m_kk = stages.run("sparsest", sparsest)["m_kk"]
    identity_kk = np.eye(k)
    u_lkk = b_lkk @ (identity_kk - m_kk)
    standardised_lkk = u_lkk / np.sqrt(error_lkk**2 + error_lkk**2 @ m_kk**2)
    free_lkk = np.abs(standardised_lkk) > discovery_threshold(standardised_lkk)
    if not refined:
        return Direct(unmixed, np.where(free_lkk, u_lkk, 0), m_kk, None, unmixing_kk)
    say(f"refining {np.count_nonzero(free_lkk):,} delayed and {np.count_nonzero(m_kk):,} instantaneous effects")
    evidence = Evidence(
        b_lkk=jnp.float32(b_lkk),
        past_pp=jnp.float32(past_pp),
        information_k=jnp.float32(unmixed.information_k),
        count=jnp.float32(unmixed.tokens),
        b_free_lkk=jnp.asarray(free_lkk),
        m_free_kk=jnp.asarray(m_kk != 0),
    )
    estimate, errors = refine(evidence, jnp.float32(m_kk), jax.random.key(seed), draws)
    b_lkk, m_kk, off_kk = (np.asarray(part, np.float64) for part in (estimate.b_lkk, estimate.m_kk, estimate.off_kk))
    return Direct(unmixed, b_lkk, m_kk, errors, (identity_kk - off_kk) @ unmixing_kk)
