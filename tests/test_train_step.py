"""The jitted step: the same on every mesh, compiled once, sharded as declared, and silent between host and device."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tcr_jax import Config, ConfigError, Process, encode
from tcr_jax.config import PRESETS
from tcr_jax.mesh import make_mesh, to_global
from tcr_jax.train_step import make_init_state, make_train_step, train_step

D, T = 16, 24
CONFIG = Config(latents=32, topk=4, batch=8, steps=20, lags=2, learning_rate=3e-3)
RNG = np.random.default_rng(0)
X_BTD = np.cumsum(RNG.normal(size=(8, T, D)), axis=1).astype(np.float32) / 3
DOCUMENT_BT = np.zeros((8, T), np.int32)
DOCUMENT_BT[:, 15:] = 1


def trained(config: Config, steps: int, devices=None):
    """State and metrics after some steps, with every transfer between host and device explicit."""
    mesh = make_mesh(config, devices)
    state = make_init_state(config, D, mesh)(jnp.zeros(D), jnp.ones(()))
    step = make_train_step(config, D, mesh)
    with jax.transfer_guard("disallow"):
        for _ in range(steps):
            state, metrics = step(state, *to_global(mesh, (X_BTD, DOCUMENT_BT)))
    return state, metrics


@pytest.mark.parametrize(
    "values", [{"corrections": 2}, {"dtype": "bfloat16"}, {"activation": "batch_topk", "acyclicity": "notears"}]
)
def test_the_mesh_does_not_change_the_numbers(values: dict) -> None:
    """One device and a 4 x 2 mesh agree after eight steps; with bfloat16 products, to their precision."""
    config = dataclasses.replace(CONFIG, **values)
    one, metrics_one = trained(config, 8, jax.devices()[:1])
    many, metrics_many = trained(dataclasses.replace(config, model_shards=2), 8)
    tolerance = 2e-2 if config.dtype == "bfloat16" else 1e-4
    for name, value in metrics_one.items():
        if np.isfinite(value):
            np.testing.assert_allclose(metrics_many[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(many.params))
    if config.dtype == "float32":
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(many.params), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_moments_are_sharded_as_their_parameters() -> None:
    """Before and after a step, both moments of every parameter carry its sharding; the latents' statistics theirs."""
    for steps in (0, 1):
        config = dataclasses.replace(CONFIG, model_shards=4)
        mesh = make_mesh(config)
        state = make_init_state(config, D, mesh)(jnp.zeros(D), jnp.ones(()))
        if steps:
            state, _ = make_train_step(config, D, mesh)(state, *to_global(mesh, (X_BTD, DOCUMENT_BT)))
        params = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(state.params)}
        assert params[".process.b_lkk"].sharding.spec == P(None, "model", None)
        assert params[".dictionary.encoder_kd"].addressable_shards[0].data.shape == (8, D)
        moments = 0
        for path, leaf in jax.tree.leaves_with_path(state.opt_state):
            for name, param in params.items():
                if jax.tree_util.keystr(path).endswith(name):
                    assert leaf.sharding.is_equivalent_to(param.sharding, leaf.ndim), path
                    moments += 1
        assert moments == 2 * (len(params) - 3)  # mean, scale and threshold have none
        assert state.latents.idle_k.sharding.spec == P("model")


def test_compiled_once_and_donated() -> None:
    """Five steps compile the step once, and the state before a step is given up to the state after."""
    compilations = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, _, **__: compilations.append(event) if event.endswith("backend_compile_duration") else None
    )
    mesh = make_mesh(CONFIG)
    state = make_init_state(CONFIG, D, mesh)(jnp.zeros(D), jnp.ones(()))
    step = make_train_step(CONFIG, D, mesh)
    batch = to_global(mesh, (X_BTD, DOCUMENT_BT))
    jax.block_until_ready(state)
    before = len(compilations)
    for _ in range(5):
        given, (state, _) = state, step(state, *batch)
    assert len(compilations) == before + 1
    assert given.params.process.b_lkk.is_deleted()


def test_training_learns() -> None:
    """On a random walk, reconstruction and prediction both improve, B and M become used, and metrics are finite."""
    config = dataclasses.replace(CONFIG, steps=150)
    _, first = trained(config, 1, jax.devices()[:1])
    state, last = trained(config, 150, jax.devices()[:1])
    assert float(last["fvu"]) < 0.5 * float(first["fvu"])
    assert float(last["r2_past_present"]) > 0.3
    assert np.asarray(state.params.process.b_lkk).any()
    assert all(np.isfinite(value) for value in last.values())


@pytest.mark.parametrize("name", ["sae_relu", "sae_topk", "sae_batchtopk"])
def test_sparse_autoencoders_train(name: str) -> None:
    """The same step trains a dictionary alone, on any mesh: reconstruction improves, and nothing else is there."""
    config = dataclasses.replace(CONFIG, **PRESETS[name], steps=50, model_shards=2)
    _, first = trained(config, 1)
    state, last = trained(config, 50)
    assert float(last["fvu"]) < 0.8 * float(first["fvu"])
    assert state.params.process == Process(None, None, None)
    assert float(last["loss"]) == pytest.approx(
        float(last["reconstruction"] + config.code_l1 * last["code"] + config.revival_weight * last["revival"])
    )


@pytest.mark.parametrize(("weight", "revived"), [(1.0, True), (0.0, False)])
def test_dead_latents_are_counted_and_revived(weight: float, revived: bool) -> None:
    """Latents whose encoder is zero never fire: they are counted, and only the auxiliary loss brings them back."""
    config = dataclasses.replace(CONFIG, dead_after=400, revival_weight=weight, steps=200, learning_rate=1e-2)
    state = make_init_state(config, D, make_mesh(config, jax.devices()[:1]))(jnp.zeros(D), jnp.ones(()))
    dictionary = state.params.dictionary
    dead_k = np.arange(config.latents) < 8
    silenced = dictionary.replace(encoder_kd=dictionary.encoder_kd.at[dead_k].set(0))
    state = state.replace(params=state.params.replace(dictionary=silenced))
    step = jax.jit(lambda state: train_step(state, X_BTD, DOCUMENT_BT, config))
    dead_shares = []
    for _ in range(60):
        state, metrics = step(state)
        dead_shares.append(float(metrics["dead"]))
    assert dead_shares[0] == 0
    assert max(dead_shares) >= 8 / 32
    assert (np.asarray(state.latents.idle_k)[dead_k] < 400).any() == revived


def test_batch_topk_keeps_its_threshold_for_later() -> None:
    """After training, the saved threshold lets about `topk` latents through on new batches."""
    state, _ = trained(dataclasses.replace(CONFIG, activation="batch_topk"), 20, jax.devices()[:1])
    fired = (encode(state.params.dictionary, X_BTD) != 0).sum(axis=-1).mean()
    assert 2 < float(fired) < 8


def test_a_mesh_that_does_not_fit_is_refused() -> None:
    """Too many model shards, a remainder, and a batch that does not divide: each names its numbers."""
    with pytest.raises(ConfigError, match="model_shards=16 is more than the 8 devices"):
        make_mesh(Config(latents=32, model_shards=16))
    with pytest.raises(ConfigError, match="model_shards=3 does not divide the 8 devices"):
        make_mesh(Config(latents=33, model_shards=3))
    with pytest.raises(ConfigError, match="batch=6 does not divide over 8 data shards"):
        make_mesh(Config(batch=6))
