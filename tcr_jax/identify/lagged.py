"""Tokens beside the tokens before them: the actual lagged pairs that every stage of the direct solver reads."""

import jax
import jax.numpy as jnp

from tcr_jax.process import history
from tcr_jax.typing import Array


def lagged(x_btd: Array, document_bt: Array, lags: int) -> tuple[jax.Array, jax.Array]:
    """[x_t, x_{t-1}, .., x_{t-lags}] of every token, and which tokens have all of them in their own document.

    Args:
      x_btd: sequences.
      document_bt: document of each position, negative where dropped.
      lags: tokens back.

    Returns:
      lagged_nf: [b (t - lags), (lags + 1) d]; rows without full history are zero.
      scored_n: which rows have full history.
    """
    tokens = max(x_btd.shape[1] - lags, 0)
    scored_bt = jax.vmap(history, in_axes=(0, None))(document_bt, lags)[:, lags:]
    shifted = [x_btd[:, lags - lag : lags - lag + tokens] for lag in range(lags + 1)]
    lagged_btf = jnp.where(scored_bt[..., None], jnp.concatenate(shifted, axis=-1), 0)
    return lagged_btf.reshape(-1, lagged_btf.shape[-1]), scored_bt.reshape(-1)
