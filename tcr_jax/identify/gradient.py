"""Maximum likelihood by gradient: unmixing, B and M together, as training would do it.

    min   mean_t sum_i |eps_it| - log|det W| - log|det(I - M)| + gamma h(M) + beta (|B|_1 + |M|_1)
    z_t = W w_t,   eps_t = z_t - M z_t - sum_l B_l z_{t-l} - c,   w_t white activations

The first three terms are minus the log-likelihood of Laplace innovations with E|eps| = 1: whitening and log|det W|
together fix what a reconstruction error leaves open. h is the DAGMA penalty, and the L1 norm is a proximal step.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from tcr_jax.acyclicity import allowed, dagma, log_det, project_to_dag
from tcr_jax.config import Config
from tcr_jax.identify.types import Batches
from tcr_jax.identify.units import as_params
from tcr_jax.identify.whitening import whiten
from tcr_jax.objective import edge_weight, masked_mean
from tcr_jax.optimizer import learning_rate, proximal_adam
from tcr_jax.params import Params, Process
from tcr_jax.process import history, innovations
from tcr_jax.typing import Array


class Model(struct.PyTreeNode):
    """What is learned; `unmixing_kk` is W, from white activations to concepts."""

    unmixing_kk: jax.Array
    b_lkk: jax.Array
    m_kk: jax.Array
    intercept_k: jax.Array


def gradient(
    batches: Batches,
    *,
    latents: int,
    lags: int,
    seed: int,
    steps: int = 3000,
    tokens: int = 4096,
    rate: float = 1e-2,
    sparsity_weight: float = 0.03,
    acyclicity_weight: float = 1.0,
    say: Callable[[str], None] = lambda _: None,
) -> Params:
    """Learns dictionary, B and M from activations by Adam, with exact zeros in B and M and an M that is a DAG.

    Over the last fifth of the steps the rate falls to zero and M keeps to the DAG that it is projected onto.

    Args:
      batches: activations.
      latents: concepts (k), at most as many as channels.
      lags: tokens back that B reaches.
      seed: of the start and of the order of the data.
      steps: of the optimiser.
      tokens: about so many a step, whole sequences.
      rate: peak learning rate, of everything.
      sparsity_weight: beta.
      acyclicity_weight: gamma.
      say: is told how far it is.

    Raises:
      NotIdentifiable: the activations span fewer dimensions than `latents`.
    """
    config = Config(latents=latents, lags=lags, activation="identity", steps=steps, learning_rate=rate)
    x_btd, document_bt = next(batches())
    white = whiten(np.asarray(x_btd)[np.asarray(document_bt) >= 0], latents)
    to_white_kd, mean_d = jnp.asarray(white.to_white_kd, jnp.float32), jnp.asarray(white.mean_d, jnp.float32)
    start_key, order_key = jax.random.split(jax.random.key(seed))
    tx = _optimizer(config)

    @jax.jit
    def step(
        model: Model, state: optax.OptState, allowed_kk: jax.Array, x_btd: Array, document_bt: Array
    ) -> tuple[Model, optax.OptState, jax.Array]:
        w_btk = jnp.einsum("btd,kd->btk", x_btd - mean_d, to_white_kd, precision="highest")
        value, grads = jax.value_and_grad(negative_log_likelihood)(model, w_btk, document_bt, acyclicity_weight)
        price_kk = sparsity_weight * edge_weight(None, latents, latents)
        updates, state = tx.update(grads, state, model, price_kk=price_kk)
        model = optax.apply_updates(model, updates)
        return model.replace(m_kk=jnp.where(allowed_kk, model.m_kk, 0)), state, value

    model, allowed_kk = _start(latents, lags, start_key), allowed(latents, triangular=False)
    state = tx.init(model)
    data = minibatches(batches, tokens, order_key)
    for number, (x_btd, document_bt) in enumerate(itertools.islice(data, steps), start=1):
        model, state, value = step(model, state, allowed_kk, x_btd, document_bt)
        if number == config.dag_step:
            model = model.replace(m_kk=jnp.asarray(project_to_dag(model.m_kk)))  # innovations share one scale
            allowed_kk = model.m_kk != 0
        if number % max(steps // 10, 1) == 0:
            say(f"step {number}/{steps}: loss {float(value):.4f}")
    unmixing_kd = np.asarray(model.unmixing_kk, np.float64) @ white.to_white_kd
    return as_params(unmixing_kd, white.mean_d, model.b_lkk, model.m_kk, model.intercept_k)


def negative_log_likelihood(model: Model, w_btk: Array, document_bt: Array, acyclicity_weight: float) -> jax.Array:
    """The smooth part of the objective, a concept: everything but the L1 norm."""
    z_btk = jnp.einsum("btj,kj->btk", w_btk, model.unmixing_kk, precision="highest")
    process = Process(b_lkk=model.b_lkk, m_kk=model.m_kk, intercept_k=model.intercept_k)
    eps_btk = jax.vmap(innovations, in_axes=(None, 0, 0))(process, z_btk, document_bt)
    scored_bt = jax.vmap(history, in_axes=(0, None))(document_bt, len(model.b_lkk))
    likelihood = masked_mean(jnp.abs(eps_btk).sum(axis=-1), scored_bt) - jnp.linalg.slogdet(model.unmixing_kk)[1]
    return (likelihood + log_det(model.m_kk) + acyclicity_weight * dagma(model.m_kk)) / len(model.m_kk)


def minibatches(batches: Batches, tokens: int, key: jax.Array) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Whole sequences in random order without end, as many at a time as `tokens` tokens hold, one at least."""
    rows = 0
    for epoch in itertools.count():
        for number, (x_btd, document_bt) in enumerate(batches()):
            kept = np.flatnonzero((np.asarray(document_bt) >= 0).any(axis=1))
            rows = rows or max(1, min(tokens // x_btd.shape[1], len(kept)))
            order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, epoch), number), kept)
            for start in range(0, len(kept) - rows + 1, rows):
                chosen = order[start : start + rows]
                yield x_btd[chosen], document_bt[chosen]


def _start(latents: int, lags: int, key: jax.Array) -> Model:
    """A random rotation of the white activations, and no relations."""
    return Model(
        unmixing_kk=jax.random.orthogonal(key, latents),
        b_lkk=jnp.zeros((lags, latents, latents)),
        m_kk=jnp.zeros((latents, latents)),
        intercept_k=jnp.zeros(latents),
    )


def _optimizer(config: Config) -> optax.GradientTransformationExtraArgs:
    """Adam, with a proximal step for B and M."""
    rates = learning_rate(config, config.learning_rate)
    rules: Any = {"unmixing_kk": "adam", "b_lkk": "proximal", "m_kk": "proximal", "intercept_k": "adam"}
    return optax.partition({"adam": optax.adam(rates), "proximal": proximal_adam(rates)}, Model(**rules))
