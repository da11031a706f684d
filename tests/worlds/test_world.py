"""What worlds emit obeys the truth that they hold."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import decode, encode, history, innovations
from tcr_jax.acyclicity import total_effects
from tcr_jax.worlds import PRESETS, Sample, World, WorldConfig, make_world, sample

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
    if world.config.start == "rest":
        whole_bt = jnp.ones_like(whole_bt)  # what a document lacks of history is zero
    if world.config.start == "uniform":
        drawn_blk = z_btk[:, : world.config.lags]
        assert drawn_blk.min() >= 0 and drawn_blk.max() <= 1 and not eps_btk[:, : world.config.lags].any()
    assert whole_bt.any()
    np.testing.assert_allclose(found_btk[whole_bt], eps_btk[whole_bt], atol=1e-4)
    np.testing.assert_array_equal(document_bt, np.arange(3)[:, None].repeat(world.config.context, axis=1))


@pytest.fixture(scope="module")
def uneven() -> tuple[World, Sample]:
    """2000 documents of a tall and noisy world, its innovations of unequal scale."""
    observation = {"width": 30, "condition": 1.0, "observation_noise": 0.2}
    world = make_world(WorldConfig(**{**SMALL, **observation, "context": 40, "noise_scale": 2.0, "noise_spread": 3.0}))
    return world, sample(world, jax.random.key(0), sequences=2000)


def test_documents_begin_in_the_midst_of_the_process(uneven: tuple[World, Sample]) -> None:
    """The first token varies as much as the last, unlike that of a process at rest, which has its innovations alone."""
    world, (_, z_btk, _, _) = uneven
    spread_tk = np.asarray(z_btk).std(axis=0)
    np.testing.assert_allclose(spread_tk[0], spread_tk[-1], rtol=0.12)
    at_rest_k = np.sqrt(np.square(total_effects(world.m).toarray() * world.scale_k).sum(axis=1))
    assert at_rest_k.mean() < 0.9 * spread_tk[0].mean()


def test_innovations_have_the_scales_of_the_world(uneven: tuple[World, Sample]) -> None:
    """Standard deviations are log-uniform around `noise_scale`, and independent over concepts and tokens."""
    world, (_, _, eps_btk, _) = uneven
    eps_nk = np.asarray(eps_btk).reshape(-1, 12)
    np.testing.assert_allclose(eps_nk.std(axis=0), world.scale_k, rtol=0.05)
    assert 2 / 3 <= world.scale_k.min() < 1.5 and 3 < world.scale_k.max() <= 6
    pairs_nk = np.hstack([eps_nk[1:], eps_nk[:-1]])
    np.testing.assert_allclose(np.corrcoef(pairs_nk.T), np.eye(24), atol=0.03)


def test_observation_noise_has_its_share_of_the_variance(uneven: tuple[World, Sample]) -> None:
    """20 % of the variance of x is white noise, and the rest is A z."""
    world, (x_btd, z_btk, _, _) = uneven
    noise_btd = np.asarray(x_btd - z_btk @ world.mixing_dk.T)
    np.testing.assert_allclose(noise_btd.var() / np.asarray(x_btd).var(), 0.2, rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(noise_btd.reshape(-1, 30).T), np.eye(30), atol=0.05)


def test_a_drift_moves_scales_slowly_and_each_in_its_own_time() -> None:
    """Innovations of one document keep their scale; over 256 documents the log of each swings by the amplitude."""
    world = make_world(WorldConfig(**{**SMALL, "context": 400, "start": "rest", "drift": 0.5}))
    log_bk = np.log(np.asarray(sample(world, jax.random.key(0), sequences=256).eps_btk).std(axis=1))
    phase = np.exp(2j * np.pi * np.arange(256) / 256)
    swing_k = 2 * (log_bk * phase[:, None]).mean(axis=0)
    np.testing.assert_allclose(np.abs(swing_k), 0.5, atol=0.05)
    assert np.std(np.angle(swing_k)) > 0.5


def test_a_stream_can_be_read_again_and_in_any_batches() -> None:
    """Every pass yields the same; other batches, and a start further on, yield the same documents."""
    world = make_world(WorldConfig(**SMALL))
    stream = world.batches(sequences=5, batch=3)
    batches = list(stream())
    assert {x_btd.shape for x_btd, _ in batches} == {(3, 20, 12)}
    x_btd, document_bt = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert document_bt[:, 0].tolist() == [0, 1, 2, 3, 4, -1]
    np.testing.assert_array_equal(next(stream())[0], x_btd[:3])
    assert np.abs(x_btd[0] - x_btd[1]).min(axis=0).all()
    tail_btd, tail_bt = next(world.batches(sequences=4, start=1)())
    assert tail_bt[:, 0].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(tail_btd, x_btd[1:5], atol=1e-5)


def test_folds_are_independent_data_of_one_world() -> None:
    """Other innovations, the same parameters; and another seed is another world."""
    world = make_world(WorldConfig(**SMALL))
    streams = [world.batches(sequences=90, batch=3, fold=fold)() for fold in (0, 1)]
    first, second = (np.concatenate([x_btd for x_btd, _ in stream]).ravel() for stream in streams)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    other = make_world(dataclasses.replace(world.config, seed=1))
    assert (other.params.process.m_kk != world.params.process.m_kk).any()
    assert np.abs(other.mixing_dk - world.mixing_dk).max() > 0.1


@pytest.mark.parametrize("values", [{"sequences": 0}, {"sequences": 3, "batch": 0}])
def test_an_empty_stream_is_refused(values: dict[str, int]) -> None:
    """The error names both numbers."""
    with pytest.raises(ValueError, match="a stream needs at least 1 of each"):
        make_world(WorldConfig(**SMALL)).batches(**values)
