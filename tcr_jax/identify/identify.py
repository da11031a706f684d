"""One call: activations in; parameters, effects with their uncertainty, and what the theory says of them out."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from tcr_jax.identify.direct import Direct, solve
from tcr_jax.identify.refine import Estimate
from tcr_jax.identify.source import as_batches, remembered
from tcr_jax.identify.stages import Stages
from tcr_jax.identify.types import Batches
from tcr_jax.identify.units import in_decoder_units, standard_errors
from tcr_jax.params import Params, Process, linear_dictionary


class Effect(NamedTuple):
    """One edge: a unit of `source`, `lag` tokens earlier (0: the same token), moves `target` by `effect`."""

    source: int
    target: int
    lag: int
    effect: float
    standard_error: float


class Identified(NamedTuple):
    """The answer. `params` are ordinary: encode, save, train on, shard and report them like any others."""

    params: Params
    b_error_lkk: np.ndarray | None  # standard errors of B and of M; None where they were not asked for
    m_error_kk: np.ndarray | None
    solution: Direct  # what diagnostics read

    def effects(self) -> list[Effect]:
        """Every non-zero effect with its standard error (NaN where there is none), the clearest first."""
        process = self.params.process
        both_lkk = np.concatenate([np.asarray(process.m_kk)[None], np.asarray(process.b_lkk)])
        if self.b_error_lkk is None or self.m_error_kk is None:
            error_lkk = np.full(both_lkk.shape, np.nan)
        else:
            error_lkk = np.concatenate([self.m_error_kk[None], self.b_error_lkk])
        effects = [
            Effect(int(j), int(i), int(lag), float(both_lkk[lag, i, j]), float(error_lkk[lag, i, j]))
            for lag, i, j in np.argwhere(both_lkk)
        ]
        return sorted(effects, key=lambda e: -abs(e.effect) / (e.standard_error or np.inf))


def identify(
    data: Any,
    document_bt: Any = None,
    *,
    latents: int | None = None,
    lags: int = 2,
    seed: int = 0,
    refine: bool = True,
    draws: int = 64,
    workdir: str | Path | None = None,
    mesh: Mesh | None = None,
    memory: int = 2**32,
    say: Callable[[str], None] = lambda line: None,
) -> Identified:
    """The causal process behind linearly mixed concepts, x_t = A z_t, z_t = sum_l B_l z_{t-l} + M z_t + eps_t.

    Args:
      data: activations [sequences, tokens, width]; a `Store`; or a callable that yields pairs (x_btd, document_bt) of
        one shape, the same at every call.
      document_bt: for an array, the document of each position, negative where dropped; by default each sequence is one.
      latents: concepts (k), at most the width; by default as many as the activations have dimensions.
      lags: tokens back that an effect may reach.
      seed: of ICA's start and of the draws behind the standard errors.
      refine: re-estimates effects and directions together once it is known which effects are zero.
      draws: for the standard errors, good to about 1/sqrt(2 draws); 0 leaves them out.
      workdir: keeps each finished stage there; the same call goes on from it.
      mesh: with an axis `data`, over which batches are split.
      memory: bytes of activations kept in memory at most; a larger stream is read anew for every pass.
      say: called with a line of progress.

    Raises:
      ValueError: `lags` or `draws` is too low.
      NotIdentifiable: the data cannot bear it: NaN, constant channels, too few tokens, rank below `latents`.

    >>> from tcr_jax.worlds import WorldConfig, make_world
    >>> world = make_world(WorldConfig(latents=4, parents=1.0, context=500))
    >>> found = identify(world.batches(40), lags=2)
    >>> found.params.process.b_lkk.shape
    (2, 4, 4)
    """
    for name, value, least in (("lags", lags, 1), ("draws", draws, 0)):
        if value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
    batches = remembered(as_batches(data, document_bt), memory)
    settings = {"latents": latents, "lags": lags, "seed": seed, "data": _digest(batches) if workdir else None}
    if mesh is not None:  # its axes as GSPMD wants them, however they were made
        mesh = Mesh(mesh.devices, mesh.axis_names)
    stages = Stages(None if workdir is None else Path(workdir), settings)
    solution = solve(
        batches, latents=latents, lags=lags, seed=seed, refined=refine, draws=draws, stages=stages, mesh=mesh, say=say
    )
    return _answer(solution)


def _digest(batches: Batches) -> str:
    """Of all data: stages of other data must never be taken for stages of these."""
    digest = hashlib.sha256()
    for part in (part for pair in batches() for part in pair):
        digest.update(np.asarray(part).tobytes())
    return digest.hexdigest()[:16]


def _answer(solution: Direct) -> Identified:
    """In units of unit-norm decoder rows."""
    unmixed = solution.unmixed
    k = len(solution.unmixing_kk)
    directions_dk = np.linalg.pinv(unmixed.to_white_kd) @ np.linalg.inv(solution.unmixing_kk)
    spread_kk = jnp.float32(directions_dk.T @ directions_dk)
    estimate = Estimate(
        b_lkk=jnp.float32(solution.b_lkk), m_kk=jnp.float32(solution.m_kk), off_kk=jnp.zeros((k, k))
    )
    b_lkk, m_kk, norm_k = (np.asarray(part, np.float64) for part in in_decoder_units(estimate, spread_kk))
    reduced_kk = np.eye(k) - solution.m_kk
    decoder_kd = (directions_dk @ reduced_kk / norm_k).T
    to_z_kk = norm_k[:, None] * np.linalg.solve(reduced_kk, solution.unmixing_kk)
    means_lk = unmixed.mean_f.reshape(-1, k) @ to_z_kk.T
    intercept_k = means_lk[0] - m_kk @ means_lk[0] - np.einsum("lij,lj->i", b_lkk, means_lk[1:])
    dictionary = linear_dictionary(to_z_kk @ unmixed.to_white_kd, decoder_kd, unmixed.mean_d)
    process = Process(b_lkk=jnp.float32(b_lkk), m_kk=jnp.float32(m_kk), intercept_k=jnp.float32(intercept_k))
    if solution.draws is None or not len(solution.draws.m_kk):
        return Identified(Params(dictionary=dictionary, process=process), None, None, solution)
    b_error_lkk, m_error_kk = jax.device_get(standard_errors(estimate, solution.draws, spread_kk))
    return Identified(Params(dictionary=dictionary, process=process), b_error_lkk, m_error_kk, solution)
