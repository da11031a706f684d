"""Adam with a proximal step: exact zeros in B and M; unit decoder rows and M's allowed entries after every update."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tcr_jax.acyclicity import allowed
from tcr_jax.config import Config
from tcr_jax.params import CONSTANTS, Params
from tcr_jax.typing import Array


def learning_rate(config: Config, peak: float) -> optax.Schedule:
    """Linear warm-up, plateau at `peak`, linear decay to zero."""
    rise = round(config.warmup * config.steps)
    return optax.join_schedules(
        [
            optax.linear_schedule(peak / (rise + 1), peak, max(rise, 1)),
            optax.constant_schedule(peak),
            optax.linear_schedule(peak, 0.0, max(config.steps - config.dag_step, 1)),
        ],
        [rise, config.dag_step],
    )


def proximal_adam(
    schedule: optax.Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-15
) -> optax.GradientTransformationExtraArgs:
    """Minimises f(p) + sum_ij price_ij |p_ij| with entries that become exactly zero.

        p <- soft(p - s m, s price),   s = lr / (sqrt(v) + eps),   soft(a, c) = sign(a) max(|a| - c, 0)

    with Adam's bias-corrected moments m and v of f's gradient. The threshold is scaled by the same preconditioner s as
    the step: with a plain `lr * price` almost nothing becomes zero. The price is given to `update` as `price_kk`,
    broadcast over leading axes. `eps` is tiny because the gradients of rarely used pairs are, too.
    Source: Melchior et al. 2019 (arXiv 1910.10094), algorithm 1 with a diagonal metric.
    """

    def init(params: Any) -> optax.ScaleByAdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(count=jnp.zeros((), jnp.int32), mu=zeros, nu=jax.tree.map(jnp.copy, zeros))

    def update(
        grads: Any, state: optax.ScaleByAdamState, params: Any = None, *, price_kk: Array, **_: Any
    ) -> tuple[Any, optax.ScaleByAdamState]:
        count = state.count + 1
        mu = optax.tree.update_moment(grads, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(grads, state.nu, b2, 2)
        rate = schedule(state.count)

        def move(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            scale = rate / (jnp.sqrt(v / (1 - b2**count)) + eps)
            target = p - scale * m / (1 - b1**count)
            return jnp.sign(target) * jnp.maximum(jnp.abs(target) - scale * price_kk, 0) - p

        return jax.tree.map(move, params, mu, nu), optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformationExtraArgs(init, update)


class ConstrainState(NamedTuple):
    """Counts the updates, to know when M must stay within its DAG."""

    updates: jax.Array


def constrain(config: Config) -> optax.GradientTransformation:
    """Bends an update so that it ends on unit decoder rows and on the entries that M may have.

    From `config.dag_step` on, M may only have the entries that it has: a DAG stays one. What M may not have and yet
    has, from a run that this one starts from, becomes zero.
    """

    def update(updates: Params, state: ConstrainState, params: Params | None = None) -> tuple[Params, ConstrainState]:
        assert params is not None, "constrain needs the parameters"
        decoder_kd = params.dictionary.decoder_kd
        moved_kd = decoder_kd + updates.dictionary.decoder_kd
        moved_kd /= jnp.linalg.norm(moved_kd, axis=-1, keepdims=True)
        dictionary = updates.dictionary.replace(decoder_kd=moved_kd - decoder_kd)
        process, m_kk = updates.process, params.process.m_kk
        if process.m_kk is not None and m_kk is not None:
            mask_kk = allowed(config.latents, triangular=config.acyclicity == "triangular")
            mask_kk &= (m_kk != 0) | (state.updates < config.dag_step)
            process = process.replace(m_kk=jnp.where(mask_kk, process.m_kk, -m_kk))
        return updates.replace(dictionary=dictionary, process=process), ConstrainState(state.updates + 1)

    return optax.GradientTransformation(lambda _: ConstrainState(jnp.zeros((), jnp.int32)), update)


def make_optimizer(config: Config) -> optax.GradientTransformationExtraArgs:
    """Clipping; Adam for the dictionary, proximal Adam for B and M, nothing for the constants; then `constrain`.

    `update` wants the price of an edge, `sparsity_weight * edge_weight(...)`, as `price_kk`. Where gradients are
    clipped, the price is scaled as they are: what is minimised stays the same.
    """
    process_schedule = learning_rate(config, config.process_learning_rate)
    rules = {
        "adam": optax.adamw(learning_rate(config, config.learning_rate), weight_decay=config.weight_decay),
        "intercept": optax.adam(process_schedule),
        "proximal": proximal_adam(process_schedule),
        "constant": optax.set_to_zero(),
    }
    whole = optax.chain(
        optax.clip_by_global_norm(config.clip), optax.partition(rules, _rule_of_each), constrain(config)
    )

    def update(
        grads: Params, state: Any, params: Params | None = None, *, price_kk: Array, **_: Any
    ) -> tuple[Params, Any]:
        left = jnp.minimum(1, config.clip / optax.tree.norm(grads))  # of the gradients, after clipping
        return whole.update(grads, state, params, price_kk=left * price_kk)

    return optax.GradientTransformationExtraArgs(whole.init, update)


def _rule_of_each(params: Params) -> Params:
    """The name of the rule that updates each parameter, in the shape of `Params`."""
    rules: Any = {
        **dict.fromkeys(CONSTANTS, "constant"),
        **dict.fromkeys(("b_lkk", "m_kk"), "proximal"),
        "intercept_k": "intercept",
    }
    return jax.tree.map_with_path(lambda path, _: rules.get(path[-1].name, "adam"), params)
