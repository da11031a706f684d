"""The published objective: the library's own train step with its preset `paper`, on a stream instead of a store."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.config import PRESETS, Config
from tcr_jax.identify.gradient import minibatches
from tcr_jax.identify.types import Batches
from tcr_jax.mesh import make_mesh
from tcr_jax.params import Params
from tcr_jax.train_step import make_init_state, make_train_step

ALPHA, BETA = 0.1, 0.01  # the paper's weights, of means over latents where the library's are sums over the width


def gradient_paper(
    batches: Batches,
    *,
    latents: int,
    lags: int,
    seed: int,
    steps: int = 5000,
    tokens: int = 2048,
    say: Callable[[str], None] = lambda _: None,
) -> Params:
    """Reconstruction, |eps| and L1 under a triangular mask, every concept active.

    Args:
      batches: activations.
      latents: concepts (k).
      lags: tokens back that B reaches.
      seed: of the start and of the order of the data.
      steps: of the optimiser (the paper: 50,000).
      tokens: about so many a step, whole sequences (the paper: 1,024 pairs).
      say: is told how far it is.
    """
    x_btd, document_bt = next(batches())
    width = x_btd.shape[-1]
    weights = {"innovation_weight": ALPHA * width / latents, "sparsity_weight": BETA * width / latents**2}
    sizes = {"latents": latents, "lags": lags, "activation": "identity", "topk": latents, "steps": steps, "seed": seed}
    config = Config(**{**PRESETS["paper"], **sizes, **weights})
    x_nd = np.asarray(x_btd)[np.asarray(document_bt) >= 0]
    mean_d = x_nd.mean(axis=0)
    mesh = make_mesh(config, jax.devices()[:1])
    state = make_init_state(config, width, mesh)(jnp.asarray(mean_d), jnp.sqrt(jnp.square(x_nd - mean_d).mean()))
    train_step = make_train_step(config, width, mesh)
    data = minibatches(batches, tokens, jax.random.key(seed))
    for number, (x_btd, document_bt) in enumerate(itertools.islice(data, steps), start=1):
        state, metrics = train_step(state, x_btd, document_bt)
        if number % max(steps // 10, 1) == 0:
            say(f"step {number}/{steps}: loss {float(metrics['loss']):.4f}, unexplained {float(metrics['fvu']):.2%}")
    return state.params
