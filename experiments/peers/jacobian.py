"""A non-linear transition prior with its Jacobian, as IDOL has it: one network a concept. For its cost, not its answer.

    eps_it = r_i(z_t, z_{t-1}, .., z_{t-l}),   log p(z_t | past) = sum_i log p(eps_it) + log|det d eps_t / d z_t|

Each r_i is a network of its own with one hidden layer, the Jacobian [k, k] of every token is formed, and its entries
are penalised to make it sparse. Source: Li et al. 2024 (IDOL, arXiv 2405.15325).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from tcr_jax.typing import Array

HIDDEN = 32
SPARSITY = 1e-2


class Networks(struct.PyTreeNode):
    """r_i(f) = out_i . leaky_relu(into_i f + bias_i), f = [z_t, z_{t-1}, .., z_{t-l}]."""

    into_khf: Array
    bias_kh: Array
    out_kh: Array


class State(NamedTuple):
    """What a step changes."""

    networks: Networks
    optimiser: optax.OptState


def init(latents: int, lags: int, key: jax.Array) -> State:
    """Random networks, and Adam's moments."""
    into_key, out_key = jax.random.split(key)
    features = (lags + 1) * latents
    networks = Networks(
        into_khf=jax.random.normal(into_key, (latents, HIDDEN, features)) / jnp.sqrt(features),
        bias_kh=jnp.zeros((latents, HIDDEN)),
        out_kh=jax.random.normal(out_key, (latents, HIDDEN)) / jnp.sqrt(HIDDEN),
    )
    return State(networks, _optimiser().init(networks))


def innovations_and_jacobian(networks: Networks, lagged_nf: Array) -> tuple[jax.Array, jax.Array]:
    """eps [n, k], and d eps / d z_t [n, k, k] ([target, source])."""
    latents = len(networks.out_kh)

    def network(of: Networks, present_k: jax.Array, past_p: jax.Array) -> jax.Array:
        hidden_h = of.into_khf @ jnp.concatenate([present_k, past_p]) + of.bias_kh
        return of.out_kh @ jax.nn.leaky_relu(hidden_h, 0.2)

    every_concept = jax.vmap(jax.value_and_grad(network, argnums=1), in_axes=(0, None, None))
    every_token = jax.vmap(every_concept, in_axes=(None, 0, 0))
    return every_token(networks, lagged_nf[:, :latents], lagged_nf[:, latents:])


def loss(networks: Networks, lagged_nf: Array) -> jax.Array:
    """Minus the log-likelihood of Laplace innovations, a token and a concept, and the L1 norm of the Jacobian."""
    eps_nk, jacobian_nkk = innovations_and_jacobian(networks, lagged_nf)
    likelihood = jnp.linalg.slogdet(jacobian_nkk)[1] - jnp.abs(eps_nk).sum(axis=1)
    return (SPARSITY * jnp.abs(jacobian_nkk).sum(axis=(1, 2)) - likelihood).mean() / eps_nk.shape[1]


def step(state: State, lagged_nf: Array) -> tuple[State, jax.Array]:
    """One step of Adam, and the loss before it. Pure; to be jitted with the state donated."""
    value, grads = jax.value_and_grad(loss)(state.networks, lagged_nf)
    updates, optimiser = _optimiser().update(grads, state.optimiser)
    return State(optax.apply_updates(state.networks, updates), optimiser), value


def _optimiser() -> optax.GradientTransformation:
    return optax.adam(1e-3)
