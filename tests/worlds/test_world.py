"""What worlds emit obeys the truth that they hold."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import decode, encode, history, innovations
from tcr_jax.worlds import PRESETS, WorldConfig, make_world, sample

SMALL: dict[str, Any] = {"latents": 12, "parents": 2.0, "context": 20}


@pytest.mark.parametrize(
    "values",
    [
        {"context": 4, "width": 20},
        {"lags": 5, "start": "rest", "noise_spread": 3.0, "drift": 0.5},
        {"start": "uniform"},
        {"parents": 0.0, "instant_parents": 0.0},
        {**PRESETS["paper"], "parents": 2.0},
    ],
)
def test_a_sample_obeys_the_parameters(values: dict[str, Any]) -> None:
    """The library's own `encode` of x is z, `decode` of z is x, and `innovations` of z are eps."""
    world = make_world(WorldConfig(**{**SMALL, **values}))
    x_btd, z_btk, eps_btk, document_bt = sample(world, jax.random.key(0), sequences=3)
    dictionary, process = world.params.dictionary, world.params.process
    np.testing.assert_allclose(jnp.linalg.norm(dictionary.decoder_kd, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encode(dictionary, x_btd), z_btk, atol=1e-3)
    np.testing.assert_allclose(decode(dictionary, z_btk), x_btd, atol=1e-3)
    found_btk = jax.vmap(innovations, in_axes=(None, 0, 0))(process, z_btk, document_bt)
    whole_bt = jax.vmap(history, in_axes=(0, None))(document_bt, world.config.lags)
    assert whole_bt.any()
    np.testing.assert_allclose(found_btk[whole_bt], eps_btk[whole_bt], atol=1e-4)
    np.testing.assert_array_equal(document_bt, np.arange(3)[:, None].repeat(world.config.context, axis=1))


def test_starts() -> None:
    """Stationary: the first token varies as the last; at rest: as its innovations; uniform: between 0 and 1."""
    spread, first = {}, {}
    for start in ("stationary", "rest", "uniform"):
        world = make_world(WorldConfig(**{**SMALL, "context": 40, "start": start}))
        z_btk = np.asarray(sample(world, jax.random.key(0), sequences=2000).z_btk)
        first[start] = z_btk[:, 0]
        spread[start] = z_btk[:, 0].std(axis=0) / z_btk[:, -1].std(axis=0)
    np.testing.assert_allclose(spread["stationary"], 1, atol=0.12)
    assert spread["rest"].mean() < 0.9
    assert first["uniform"].min() >= 0 and first["uniform"].max() <= 1
    np.testing.assert_allclose(first["uniform"].mean(axis=0), 0.5, atol=0.02)


def test_innovations_have_the_scales_of_the_world() -> None:
    """Standard deviations are log-uniform around `noise_scale`, and independent over concepts and tokens."""
    world = make_world(WorldConfig(**{**SMALL, "noise_scale": 2.0, "noise_spread": 3.0}))
    eps_nk = np.asarray(sample(world, jax.random.key(0), sequences=2000).eps_btk).reshape(-1, 12)
    np.testing.assert_allclose(eps_nk.std(axis=0), world.scale_k, rtol=0.05)
    assert 2 / 3 <= world.scale_k.min() < 1.5 and 3 < world.scale_k.max() <= 6
    pairs_nk = np.hstack([eps_nk[1:], eps_nk[:-1]])
    np.testing.assert_allclose(np.corrcoef(pairs_nk.T), np.eye(24), atol=0.03)


def test_a_drift_moves_scales_slowly_and_each_in_its_own_time() -> None:
    """Innovations of one document keep their scale; over 256 documents the log of each swings by the amplitude."""
    world = make_world(WorldConfig(**{**SMALL, "context": 400, "start": "rest", "drift": 0.5}))
    log_bk = np.log(np.asarray(sample(world, jax.random.key(0), sequences=256).eps_btk).std(axis=1))
    phase = np.exp(2j * np.pi * np.arange(256) / 256)
    swing_k = 2 * (log_bk * phase[:, None]).mean(axis=0)
    np.testing.assert_allclose(np.abs(swing_k), 0.5, atol=0.05)
    assert np.std(np.angle(swing_k)) > 0.5


def test_observation_noise_has_its_share_of_the_variance() -> None:
    """20 % of the variance of x is white noise, and the rest is A z."""
    world = make_world(WorldConfig(**{**SMALL, "width": 30, "condition": 1.0, "observation_noise": 0.2}))
    x_btd, z_btk, _, _ = sample(world, jax.random.key(0), sequences=1000)
    noise_btd = np.asarray(x_btd - z_btk @ world.mixing_dk.T)
    np.testing.assert_allclose(noise_btd.var() / np.asarray(x_btd).var(), 0.2, rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(noise_btd.reshape(-1, 30).T), np.eye(30), atol=0.05)


def test_a_stream_can_be_read_again_and_in_any_batches() -> None:
    """Every pass yields the same; other batches, and a start further on, yield the same documents."""
    world = make_world(WorldConfig(**SMALL))
    stream = world.batches(sequences=7)
    (whole_btd, number_bt), (again_btd, _) = next(stream()), next(stream())
    np.testing.assert_array_equal(whole_btd, again_btd)
    parts = list(world.batches(sequences=7, batch=3)())
    assert {x_btd.shape for x_btd, _ in parts} == {(3, 20, 12)}
    document_b = np.concatenate([document_bt[:, 0] for _, document_bt in parts])
    assert document_b.tolist() == [0, 1, 2, 3, 4, 5, 6, -1, -1]
    np.testing.assert_allclose(np.concatenate([x_btd for x_btd, _ in parts])[:7], whole_btd, atol=1e-5)
    tail_btd, tail_bt = next(world.batches(sequences=2, start=5)())
    assert tail_bt[:, 0].tolist() == [5, 6] and number_bt[:, 0].tolist() == list(range(7))
    np.testing.assert_allclose(tail_btd, whole_btd[5:], atol=1e-5)


def test_folds_are_independent_data_of_one_world() -> None:
    """Other innovations, the same parameters; and another seed is another world."""
    world = make_world(WorldConfig(**SMALL))
    first, second = (np.asarray(next(world.batches(sequences=200, fold=fold)())[0]).ravel() for fold in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    other = make_world(dataclasses.replace(world.config, seed=1))
    assert (other.params.process.m_kk != world.params.process.m_kk).any()
    assert np.abs(other.mixing_dk - world.mixing_dk).max() > 0.1


@pytest.mark.parametrize("values", [{"sequences": 0}, {"sequences": 3, "batch": 0}])
def test_an_empty_stream_is_refused(values: dict[str, int]) -> None:
    """The error names both numbers."""
    with pytest.raises(ValueError, match="a stream needs at least 1 of each"):
        make_world(WorldConfig(**SMALL)).batches(**values)
