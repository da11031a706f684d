"""The parts of a training step: the operations of each, and its time when it runs on its own."""

import functools
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.machine import timed
from tcr_jax.config import Config
from tcr_jax.dictionary import decode
from tcr_jax.figures import collect, figures
from tcr_jax.objective import acyclicity, edge_weight, forward, revival, with_matrices
from tcr_jax.optimizer import make_optimizer
from tcr_jax.params import Params, Process
from tcr_jax.process import predict
from tcr_jax.train_step import TrainState
from tcr_jax.typing import Array

NOTHING = Process(b_lkk=None, m_kk=None, intercept_k=None)


def operations(config: Config, width: int, tokens: int) -> dict[str, int]:
    """Floating-point operations of a step's matrix products by part, an addition and a multiplication counted as two.

    With n tokens, width d, k latents, l lags and c corrections of the code:

        encode  (4 + 12 c) n d k   forward, and the gradient of the weights (x needs none); a correction decodes and
                                   encodes again, and has gradients of the weights and of z
        decode         6 n d k     forward, and the gradients of the weights and of z
        lags         6 l n k^2     forward, and the gradients of B and of z
        M              6 n k^2     forward, and the gradients of M and of z
    """
    dictionary, pairs = tokens * width * config.latents, tokens * config.latents**2
    counts = {"encode": (4 + 12 * config.corrections) * dictionary, "decode": 6 * dictionary}
    counts |= {"lags": 6 * config.delays * pairs, "M": 6 * pairs}
    if not config.has_m:
        del counts["M"]
    return {part: count for part, count in counts.items() if count}


def time_parts(
    config: Config, state: TrainState, x_btd: Array, document_bt: Array, *, repeats: int
) -> dict[str, float]:
    """Seconds of each part of a step, forward and backward, compiled on its own; the median of some repeats.

    The parts need not add up to the step, in which the compiler fuses across them. `state` is used up.
    """
    cast: Callable[[Any], Any] = functools.partial(with_matrices, dtype=config.dtype)
    dictionary, process, width = state.params.dictionary, state.params.process, x_btd.shape[-1]

    def model(params: Any, x_btd: Any, document_bt: Any) -> Any:
        return forward(cast(params), x_btd, document_bt, training=True)

    def encode(dictionary: Any, x_btd: Any, document_bt: Any) -> Any:
        return model(Params(dictionary, NOTHING), x_btd, document_bt).z_btk

    def predicted(process: Any, z_btk: Any, document_bt: Any) -> Any:
        return jax.vmap(predict, in_axes=(None, 0, 0))(cast(process), z_btk, document_bt)

    def revived(dictionary: Any, out: Any, idle_k: Any, key: Any) -> Any:
        return revival(cast(dictionary), out, idle_k, config.dead_after, key)

    def update(params: Any, opt_state: Any, grads: Any, power_k: Any) -> Any:
        price_kk = config.sparsity_weight * edge_weight(jnp.sqrt(power_k), config.latents, width)
        updates, opt_state = make_optimizer(config).update(grads, opt_state, params, price_kk=price_kk)
        return optax.apply_updates(params, updates), opt_state

    out = jax.jit(model)(state.params, x_btd, document_bt)
    lags, m = process.replace(m_kk=None), NOTHING.replace(m_kk=process.m_kk)
    parts = {"encode": _gradient(encode, (dictionary,), (x_btd, document_bt))}
    if lags.b_lkk is not None:
        parts["lags"] = _gradient(predicted, (lags, out.z_btk), (document_bt,))
    if m.m_kk is not None:
        parts["M"] = _gradient(predicted, (m, out.z_btk), (document_bt,))
        if config.acyclicity != "triangular":
            penalty = functools.partial(acyclicity, kind=config.acyclicity, width=width)
            parts["acyclicity"] = _gradient(penalty, (m,), ())
    parts["decode"] = _gradient(lambda dictionary, z_btk: decode(cast(dictionary), z_btk), (dictionary, out.z_btk), ())
    parts["revival"] = _gradient(revived, (dictionary,), (out, state.latents.idle_k, state.key))
    parts["figures"] = jax.jit(lambda params, out: figures(collect(params, out, past=False))), (state.params, out)
    seconds = {name: _median(function, args, repeats) for name, (function, args) in parts.items()}

    grads, carried = jax.tree.map(jnp.copy, state.params), (state.params, state.opt_state)
    step, times = jax.jit(update, donate_argnums=(0, 1)), []
    for _ in range(1 + repeats):
        elapsed, carried = timed(step, *carried, grads, state.latents.power_k)
        times.append(elapsed)
    return seconds | {"optimiser": statistics.median(times[1:])}


def _gradient(function: Any, trained: tuple[Any, ...], data: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """`function(*trained, *data)` followed by its gradient towards `trained`, jitted, and its arguments.

    What comes back is the value itself: a dense cotangent, as a loss would send.
    """

    def run(trained: tuple[Any, ...], data: tuple[Any, ...]) -> Any:
        value, pull_back = jax.vjp(lambda *trained: function(*trained, *data), *trained)
        return pull_back(value)

    return jax.jit(run), (trained, data)


def _median(function: Any, args: tuple[Any, ...], repeats: int) -> float:
    jax.block_until_ready(function(*args))  # compiles
    return statistics.median(timed(function, *args)[0] for _ in range(repeats))
