"""The direct solver: activations in; parameters, effects and their uncertainty out. No gradient descent.

    w = P (x - mean)                           white, so that float32 is enough            whitening.py
    w_t = sum_l Phi_l w_{t-l} + r_t            least squares on actual lagged pairs        moments.py, autoregression.py
    e = U r                                    independent: ICA, then maximum likelihood   unmix.py, components.py
    B'_l = U Phi_l U^{-1} = B_l (I - M)^{-1}   what the data show of effects               unrestricted.py
    B_l = B'_l (I - M)                         for the acyclic M that makes it sparsest    relate.py, sparsest.py
    B, M, U                                    the best estimate given what is zero        refine.py

Each concept is as the theory has it: z = (I - M)^{-1} U w, up to order, sign and unit (Song et al. 2025, theorem 3 and
corollary 1). The data are read four times, a batch at a time; between readings only matrices are kept, and for ICA as
many residuals as its start needs.
"""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from tcr_jax.identify.alternatives import alternatives, in_doubt
from tcr_jax.identify.doubts import doubts
from tcr_jax.identify.errors import Doubtful
from tcr_jax.identify.evidence import Estimate
from tcr_jax.identify.relate import Related, relate
from tcr_jax.identify.source import as_batches, fingerprint, remembered
from tcr_jax.identify.stages import Stages
from tcr_jax.identify.types import Say
from tcr_jax.identify.units import as_params, standard_errors
from tcr_jax.identify.unmix import Unmixed, unmix
from tcr_jax.params import Params

FORMAT = 6
"""Of the stages that are kept: those of another one are not read."""


class Effect(NamedTuple):
    """One edge: a unit of `source`, `lag` tokens earlier (0: the same token), moves `target` by `effect`.

    >>> print(Effect(source=3, target=1, lag=2, effect=-0.5, standard_error=0.0123))
         3 -> 1       lag  2   -0.5000 ± 0.0123

    The standard error takes the graph for granted. `in_doubt`: another graph, one edge of M away, is as sparse within
    the standard errors and would change this effect, or B has too few zeros to tell; None without standard errors.
    """

    source: int
    target: int
    lag: int
    effect: float
    standard_error: float
    in_doubt: bool | None = None

    def __str__(self) -> str:
        doubt = "  in doubt: another graph may be as sparse" if self.in_doubt else ""
        size = f"{self.effect:+8.4f} ± {self.standard_error:.4f}"
        return f"{self.source:6} -> {self.target:<6}  lag {self.lag:2}  {size}{doubt}"


class Identified(NamedTuple):
    """The answer. `params` are ordinary: encode, save, train on, shard and report them like any others."""

    params: Params
    b_error_lkk: np.ndarray | None  # standard errors of B and of M; None without `draws` or `refine`
    m_error_kk: np.ndarray | None
    unmixed: Unmixed  # what diagnostics read
    misfit: float = 1.0  # factor by which the model's misfit raised the errors that sampling explains

    def __repr__(self) -> str:
        b_lkk, m_kk = map(np.asarray, (self.params.process.b_lkk, self.params.process.m_kk))
        return (
            f"<{type(self).__name__}: {len(m_kk)} concepts, {len(b_lkk)} lags, {np.count_nonzero(b_lkk):,} delayed and "
            f"{np.count_nonzero(m_kk):,} instantaneous effects, from {self.unmixed.tokens:,.0f} tokens>"
        )

    @property
    def doubt_k(self) -> np.ndarray | None:
        """Whether effects from and to a concept are in doubt (see `Effect`), [k]; None without standard errors."""
        if self.b_error_lkk is None:
            return None
        return in_doubt(alternatives(self.params.process, self.b_error_lkk), len(self.params.dictionary.decoder_kd))

    def effects(self) -> list[Effect]:
        """Every non-zero effect, the clearest first; without standard errors (NaN) the largest."""
        process = self.params.process
        both_lkk = np.concatenate([np.asarray(process.m_kk)[None], np.asarray(process.b_lkk)])
        error_lkk, doubt_k = np.full(both_lkk.shape, np.nan), self.doubt_k
        if self.b_error_lkk is not None and self.m_error_kk is not None:
            error_lkk = np.concatenate([self.m_error_kk[None], self.b_error_lkk])
        effects = [
            Effect(
                source=int(j),
                target=int(i),
                lag=int(lag),
                effect=float(both_lkk[lag, i, j]),
                standard_error=float(error_lkk[lag, i, j]),
                in_doubt=None if doubt_k is None else bool(doubt_k[i] or doubt_k[j]),
            )
            for lag, i, j in np.argwhere(both_lkk)
        ]
        return sorted(effects, key=lambda e: -abs(e.effect) / (e.standard_error if e.standard_error > 0 else 1))


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
    say: Say = lambda line: None,
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
      draws: for the standard errors, good to about 1/sqrt(2 draws); 0 leaves them out, and so does `refine=False`.
      workdir: keeps each finished stage there; the same call goes on from it.
      mesh: with an axis `data`, over which batches are split.
      memory: bytes of activations kept in memory at most; a larger stream is read anew for every pass.
      say: called with a line of progress.

    Raises:
      ValueError: `lags`, `draws`, `latents` or `seed` is too low, or no whole number; or `mesh` has no axis `data`.
      NotIdentifiable: the data cannot bear it: NaN, constant channels, too few tokens, rank below `latents`.

    Warns:
      Doubtful: there is an answer, but innovations seem Gaussian, channels hold fewer dimensions than there are, tokens
        are few, the model does not fit, or the process is unstable (see `doubts`). `diagnose` says more.

    >>> from tcr_jax.worlds import WorldConfig, make_world
    >>> world = make_world(WorldConfig(latents=4, parents=1.0, context=500))
    >>> found = identify(world.batches(40), lags=2)
    >>> found.params.process.b_lkk.shape
    (2, 4, 4)
    """
    given = [("lags", lags, 1), ("draws", draws, 0), ("seed", seed, 0)]
    for name, value, least in given if latents is None else [*given, ("latents", latents, 1)]:
        if not (isinstance(value, int | np.integer) and value >= least):
            raise ValueError(f"{name}={value!r} must be a whole number, at least {least}")
    batches = remembered(as_batches(data, document_bt), memory)
    if mesh is not None and "data" not in mesh.axis_names:
        raise ValueError(f"mesh has axes {mesh.axis_names}: it needs one named data, over which batches are split")
    if mesh is not None:  # its axes as GSPMD wants them, however they were made
        mesh = Mesh(mesh.devices, mesh.axis_names)
    settings = {"format": FORMAT, "latents": latents, "lags": lags, "seed": seed}
    if workdir is not None:
        settings |= fingerprint(data, batches)
    stages = Stages(None if workdir is None else Path(workdir), settings)
    unmixed = unmix(batches, latents, lags, seed, mesh, stages, say)
    found = _answer(unmixed, relate(unmixed, seed, refine, draws, stages, say))
    for line in doubts(unmixed, found.params, found.misfit, latents):
        warnings.warn(line, Doubtful, stacklevel=2)
    return found


def _answer(unmixed: Unmixed, related: Related) -> Identified:
    """In units of unit-norm decoder rows."""
    b_lkk, m_kk, draws, unmixing_kk, misfit = related
    reduced_kk = np.eye(len(m_kk)) - m_kk
    to_z_kk = np.linalg.solve(reduced_kk, unmixing_kk)
    means_lk = unmixed.mean_f.reshape(-1, len(m_kk)) @ to_z_kk.T
    intercept_k = reduced_kk @ means_lk[0] - np.einsum("lij,lj->i", b_lkk, means_lk[1:])
    params = as_params(to_z_kk @ unmixed.to_white_kd, unmixed.mean_d, b_lkk, m_kk, intercept_k)
    if draws is None:
        return Identified(params, None, None, unmixed, misfit)
    directions_dk = np.linalg.pinv(unmixed.to_white_kd) @ np.linalg.inv(unmixing_kk)
    directions_dk /= np.abs(directions_dk).max()  # only their ratios count
    estimate = Estimate(jnp.float32(b_lkk), jnp.float32(m_kk), jnp.zeros_like(m_kk, jnp.float32))
    b_error_lkk, m_error_kk = standard_errors(estimate, draws, jnp.float32(directions_dk.T @ directions_dk))
    return Identified(params, np.asarray(b_error_lkk), np.asarray(m_error_kk), unmixed, misfit)
