"""VARLiNGAM on the concepts themselves, its home ground: it knows z, and looks for B and M alone.

Its three steps are those of Hyvarinen et al. 2010 and of the package `lingam`: an autoregression by least squares, here
of actual lagged pairs, so that boundaries of documents do no harm; DirectLiNGAM of its residuals; then every target's
edges by the adaptive lasso. The last two are lingam's own functions. (lingam's class VARLiNGAM takes one series only,
and time quadratic in its length to prune.)
"""

from collections.abc import Callable

import jax
import numpy as np
from lingam import DirectLiNGAM
from lingam.utils import predict_adaptive_lasso

from tcr_jax.identify.lagged import lagged
from tcr_jax.identify.types import Batches
from tcr_jax.identify.units import as_params
from tcr_jax.knobs import ConfigError
from tcr_jax.params import Params

LARGEST = 80
"""Concepts up to which it is run: DirectLiNGAM takes k^3 / 3 regressions, one after the other."""


def varlingam(
    batches: Batches,
    *,
    latents: int,
    lags: int,
    seed: int,
    tokens: int = 20_000,
    say: Callable[[str], None] = lambda _: None,
) -> Params:
    """B and M of concepts that are known; deterministic, so `seed` is not used.

    Args:
      batches: concepts z_btk in place of activations.
      latents: concepts (k).
      lags: tokens back that B reaches.
      seed: of nothing.
      tokens: the first so many with full history are used: time grows with them.
      say: is told how far it is.

    Raises:
      ConfigError: there are too many concepts for it to end.
    """
    if latents > LARGEST:
        raise ConfigError(f"latents={latents}: varlingam takes hours beyond {LARGEST}; lower latents or leave it out")
    lagged_nf = _first_tokens(batches, lags, tokens)
    say(f"varlingam: uses {len(lagged_nf):,} tokens")
    lagged_nf -= lagged_nf.mean(axis=0)
    present_nk, past_np = np.split(lagged_nf, [latents], axis=1)
    phi_pk = np.linalg.lstsq(past_np, present_nk)[0]
    order = DirectLiNGAM().fit(present_nk - past_np @ phi_pk).causal_order_
    say("varlingam: causal order found")
    m_kk, b_lkk = np.zeros((latents, latents)), np.zeros((lags, latents, latents))
    for place, target in enumerate(order):
        earlier = order[:place]
        columns = np.concatenate([present_nk[:, earlier], past_np, present_nk[:, [target]]], axis=1)
        effect = predict_adaptive_lasso(columns, list(range(columns.shape[1] - 1)), columns.shape[1] - 1)
        m_kk[target, earlier], b_lkk[:, target] = effect[:place], effect[place:].reshape(lags, latents)
    return as_params(np.eye(latents), np.zeros(latents), b_lkk, m_kk)


def _first_tokens(batches: Batches, lags: int, tokens: int) -> np.ndarray:
    """[z_t, z_{t-1}, .., z_{t-lags}] of the first tokens with full history, float64."""
    parts, count = [], 0
    for z_btk, document_bt in batches():
        lagged_nf, scored_n = jax.jit(lagged, static_argnums=2)(z_btk, document_bt, lags)
        parts.append(np.asarray(lagged_nf, np.float64)[np.asarray(scored_n)])
        count += len(parts[-1])
        if count >= tokens:
            break
    return np.concatenate(parts)[:tokens]
