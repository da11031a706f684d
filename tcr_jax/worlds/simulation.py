"""Simulation of a world on the device: batches of documents advance together, each from a key of its own."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from flax import struct

from tcr_jax.acyclicity import total_effects
from tcr_jax.worlds.config import WorldConfig
from tcr_jax.worlds.effects import Effects, apply, to_device
from tcr_jax.worlds.noise import draw_noise, drift

FORGOTTEN = 1e-3  # share of a start at rest that is left where the stationary part begins


class Sample(NamedTuple):
    """What a world emitted, float32, and what was behind it.

    Where `start` is uniform the first `lags` tokens are drawn, not driven, and eps is zero there.
    """

    x_btd: jax.Array
    z_btk: jax.Array
    eps_btk: jax.Array
    document_bt: jax.Array


class Simulator(struct.PyTreeNode):
    """The truth as the device needs it: B as one matrix [k, l k], and R = (I - M)^{-1}."""

    delayed: Effects
    reduced: Effects
    mixing_dk: jax.Array
    scale_k: jax.Array
    phase_k: jax.Array
    observation_noise: jax.Array
    config: WorldConfig = struct.field(pytree_node=False)

    @property
    def dropped(self) -> int:
        """Tokens simulated before a document begins."""
        if self.config.start != "stationary":
            return 0
        return math.ceil(math.log(FORGOTTEN) / math.log(self.config.radius))

    @property
    def length(self) -> int:
        """Tokens simulated for a document."""
        return self.dropped + self.config.context


def make_simulator(
    config: WorldConfig, b: Sequence[sp.csr_array], m: sp.csr_array, mixing_dk: np.ndarray, scale_k: np.ndarray
) -> Simulator:
    """Copies the truth to the device."""
    phase_k = np.random.default_rng([config.seed, 3]).uniform(0, 2 * np.pi, config.latents)
    return Simulator(
        delayed=to_device(sp.hstack(b, format="csr")),
        reduced=to_device(total_effects(m)),
        mixing_dk=jnp.asarray(mixing_dk),
        scale_k=jnp.asarray(scale_k, jnp.float32),
        phase_k=jnp.asarray(phase_k, jnp.float32),
        observation_noise=jnp.zeros(()),
        config=config,
    )


def simulate(simulator: Simulator, key: jax.Array, number_b: jax.Array) -> Sample:
    """The documents of these numbers: each depends on the key and its number alone."""
    config = simulator.config
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(number_b)
    z_btk, eps_btk = _concepts(simulator, keys, number_b)
    x_btd = jnp.einsum("btk,dk->btd", z_btk, simulator.mixing_dk, precision="highest")
    if config.observation_noise:
        white_btd = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 1), x_btd.shape[1:]))(keys)
        x_btd = x_btd + simulator.observation_noise * white_btd
    return Sample(x_btd, z_btk, eps_btk, jnp.broadcast_to(number_b[:, None], x_btd.shape[:2]))


def signal_variance(simulator: Simulator, key: jax.Array) -> jax.Array:
    """Mean variance of a channel without observation noise, from some 2^14 tokens."""
    documents = math.ceil(2**14 / simulator.config.context)
    return jax.jit(simulate)(simulator, key, jnp.arange(documents)).x_btd.var(axis=(0, 1)).mean()


def _concepts(simulator: Simulator, keys: jax.Array, number_b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z and eps of documents with these keys."""
    config = simulator.config
    k, lags, batch = config.latents, config.lags, len(keys)
    drawn = lags if config.start == "uniform" else 0

    def innovations(key: jax.Array, number: jax.Array) -> jax.Array:
        scale_k = drift(config.drift, simulator.scale_k, number, simulator.phase_k)
        return draw_noise(config, key, (simulator.length - drawn, k)) * scale_k

    eps_tkb = jax.vmap(innovations, out_axes=2)(keys, number_b)
    first_tkb = jnp.zeros((lags, k, batch))
    if drawn:
        first_tkb = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 2), (lags, k)), out_axes=2)(keys)

    def step(earlier_lkb: jax.Array, eps_kb: jax.Array) -> tuple[jax.Array, jax.Array]:
        past_kb = apply(simulator.delayed, earlier_lkb.reshape(lags * k, batch))
        z_kb = apply(simulator.reduced, past_kb + eps_kb)
        return jnp.concatenate([z_kb[None], earlier_lkb[:-1]]), z_kb

    _, z_tkb = jax.lax.scan(step, first_tkb[::-1], eps_tkb)
    if drawn:
        z_tkb = jnp.concatenate([first_tkb, z_tkb])
        eps_tkb = jnp.concatenate([jnp.zeros_like(first_tkb), eps_tkb])
    z_btk, eps_btk = (jnp.transpose(part_tkb[simulator.dropped :], (2, 0, 1)) for part_tkb in (z_tkb, eps_tkb))
    return z_btk, eps_btk
