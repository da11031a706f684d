"""The training state and the one jitted step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tcr_jax.config import Config
from tcr_jax.figures import collect, figures
from tcr_jax.objective import Forward, edge_weight, objective
from tcr_jax.optimizer import make_optimizer
from tcr_jax.params import Params, init_params, param_specs
from tcr_jax.typing import Array

MEMORY = 0.99
"""Share of a running mean that a step keeps: the means reach back about 100 steps."""


class LatentStatistics(struct.PyTreeNode):
    """What the next step must know of the latents' past."""

    idle_k: jax.Array  # tokens since it last fired
    power_k: jax.Array  # running mean of z^2
    seen: jax.Array  # weight in `power_k` so far, to remove its bias towards zero


class TrainState(struct.PyTreeNode):
    """All that a run is: restoring it continues the run bit by bit.

    `latents` is beside the optimiser's state because the objective, not the optimiser, needs it.
    """

    step: jax.Array
    params: Params
    opt_state: optax.OptState
    latents: LatentStatistics
    key: jax.Array


Metrics = dict[str, jax.Array]


def init_state(config: Config, width: int, mean_d: Array, scale: Array) -> TrainState:
    """The state before the first step; see `init_params` for the arguments."""
    key, init_key = jax.random.split(jax.random.key(config.seed))
    params = init_params(config, width, mean_d, scale, init_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=make_optimizer(config).init(params),
        latents=LatentStatistics(
            idle_k=jnp.zeros(config.latents), power_k=jnp.zeros(config.latents), seen=jnp.zeros(())
        ),
        key=key,
    )


def state_shardings(config: Config, width: int, mesh: Mesh) -> Any:
    """A `TrainState` of `NamedSharding`: moments as their parameters, latent statistics as their latents."""
    abstract = jax.eval_shape(lambda: init_state(config, width, jnp.zeros(width), jnp.ones(())))
    latent_specs = jax.tree.map(lambda leaf: P("model") if leaf.ndim else P(), abstract.latents)
    specs = latent_specs, param_specs(config, width)
    by_name = {jax.tree_util.keystr(path[1:]): spec for path, spec in jax.tree.leaves_with_path(specs)}

    def sharding(path: Any, _: Any) -> NamedSharding:
        """A moment's path ends with the name of its parameter."""
        name = jax.tree_util.keystr(path)
        return NamedSharding(mesh, next((by_name[end] for end in by_name if name.endswith(end)), P()))

    return jax.tree.map_with_path(sharding, abstract)


def train_step(
    state: TrainState, x_btd: Array, document_bt: Array, config: Config, gather: Callable = lambda z: z
) -> tuple[TrainState, Metrics]:
    """One step of the optimiser on one batch. Pure; `make_train_step` jits and shards it.

    Args:
      state: the state before.
      x_btd: raw activations.
      document_bt: document of each position, negative where dropped.
      config: static.
      gather: see `objective.forward`.

    Returns:
      The state after, and the metrics of this batch (before the update): every loss term, `fvu`, `l0`, `dead`,
      `r2_past_present`, and the norm of the gradient.
    """
    key, draw_key = jax.random.split(state.key)
    rms_k = jnp.sqrt(state.latents.power_k / jnp.maximum(state.latents.seen, 1e-9))
    shape = state.params.dictionary.encoder_kd.shape
    weight_kk = edge_weight(rms_k if config.sparsity == "standardised" else None, *shape)
    (smooth, (terms, out)), grads = jax.value_and_grad(objective, has_aux=True)(
        state.params, x_btd, document_bt, config, weight_kk, state.latents.idle_k, draw_key, gather
    )
    updates, opt_state = make_optimizer(config).update(
        grads, state.opt_state, state.params, price_kk=config.sparsity_weight * weight_kk
    )
    params = _with_threshold(optax.apply_updates(state.params, updates), state, out)
    latents = _observe(state.latents, out)
    seen = figures(collect(state.params, out, past=False))
    metrics = {
        "loss": smooth + config.sparsity_weight * terms.sparsity,
        **terms._asdict(),
        **{name: seen[name] for name in ("fvu", "l0", "r2_past_present")},
        "dead": (latents.idle_k >= config.dead_after).mean(),
        "gradient_norm": optax.tree.norm(grads),
    }
    return TrainState(state.step + 1, params, opt_state, latents, key), metrics


def make_train_step(
    config: Config, width: int, mesh: Mesh
) -> Callable[[TrainState, Array, Array], tuple[TrainState, Metrics]]:
    """`train_step` jitted for a mesh: state donated and sharded, batch split over `data`, metrics on every device.

    >>> import jax, jax.numpy as jnp, tcr_jax
    >>> config = tcr_jax.Config(latents=8, topk=2, lags=1, batch=2)
    >>> mesh = tcr_jax.make_mesh(config, jax.devices()[:1])
    >>> state = tcr_jax.make_init_state(config, 4, mesh)(jnp.zeros(4), jnp.ones(()))
    >>> step = tcr_jax.make_train_step(config, 4, mesh)
    >>> x_btd = jax.random.normal(jax.random.key(0), (2, 5, 4))
    >>> state, metrics = step(state, x_btd, jnp.zeros((2, 5), int))
    >>> int(state.step), float(metrics["l0"])
    (1, 2.0)
    """
    shardings = state_shardings(config, width, mesh)
    rows, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())

    def gather(y_btk: jax.Array) -> jax.Array:
        return jax.lax.with_sharding_constraint(y_btk, rows)

    return jax.jit(
        lambda state, x_btd, document_bt: train_step(state, x_btd, document_bt, config, gather),
        in_shardings=(shardings, rows, rows),
        out_shardings=(shardings, everywhere),
        donate_argnums=0,
    )


def make_init_state(config: Config, width: int, mesh: Mesh) -> Callable[[Array, Array], TrainState]:
    """`init_state` jitted for a mesh, so that no device ever holds the whole state: call with (mean_d, scale)."""
    return jax.jit(
        lambda mean_d, scale: init_state(config, width, mean_d, scale),
        out_shardings=state_shardings(config, width, mesh),
    )


def _observe(latents: LatentStatistics, out: Forward) -> LatentStatistics:
    """Statistics after one more batch."""
    tokens = out.kept_bt.sum()
    fired_k = (out.z_btk != 0).any(axis=(0, 1))
    power_k = jnp.square(out.z_btk).sum(axis=(0, 1)) / jnp.maximum(tokens, 1)
    return LatentStatistics(
        idle_k=jnp.where(fired_k, 0, latents.idle_k + tokens),
        power_k=MEMORY * latents.power_k + (1 - MEMORY) * power_k,
        seen=MEMORY * latents.seen + (1 - MEMORY),
    )


def _with_threshold(params: Params, state: TrainState, out: Forward) -> Params:
    """Follows the batches' thresholds of `batch_topk`, for use outside training."""
    if params.dictionary.activation != "batch_topk":
        return params
    memory = jnp.where(state.step == 0, 0, MEMORY)
    threshold = memory * state.params.dictionary.threshold + (1 - memory) * out.threshold
    return params.replace(dictionary=params.dictionary.replace(threshold=threshold))
