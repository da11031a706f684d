"""Maximum likelihood by gradient: what it minimises, what it returns, and the order of its data."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import is_acyclic
from tcr_jax.identify.gradient import Model, gradient, minibatches, negative_log_likelihood
from tcr_jax.scores import recovery
from tcr_jax.worlds import WorldConfig, make_world, sample


def test_the_likelihood_is_that_of_laplace_innovations() -> None:
    """The loss a concept is minus the log-density of z's innovations under Laplace(0, 1), less log 2, plus h(M)."""
    rng = np.random.default_rng(0)
    k, unmixing_kk, b_lkk = 3, rng.normal(size=(3, 3)), 0.3 * rng.normal(size=(1, 3, 3))
    m_kk, intercept_k = np.array([[0, 0, 0.3], [0.5, 0, 0], [0, 0.2, 0]]), np.array([0.1, 0.0, -0.2])
    w_tk = rng.normal(size=(6, k))
    z_tk = w_tk @ unmixing_kk.T
    eps_tk = z_tk[1:] - z_tk[1:] @ m_kk.T - z_tk[:-1] @ b_lkk[0].T - intercept_k
    expected = np.abs(eps_tk).sum(1).mean() - np.log(abs(np.linalg.det(unmixing_kk)))
    expected -= np.log(abs(np.linalg.det(np.eye(k) - m_kk)))
    expected -= 2.0 * np.log(np.linalg.det(np.eye(k) - m_kk**2))
    model = Model(*(jnp.float32(part) for part in (unmixing_kk, b_lkk, m_kk, intercept_k)))
    value = negative_log_likelihood(model, jnp.float32(w_tk)[None], jnp.zeros((1, 6), int), 2.0)
    assert float(value) == pytest.approx(expected / k, rel=1e-5)


def test_every_kept_sequence_comes_once_a_pass() -> None:
    """Minibatches of a pass hold each sequence once, in an order that the key decides; dropped ones never come."""
    world = make_world(WorldConfig(latents=4, parents=1.0, context=10))
    data = world.batches(sequences=6, batch=4)  # the second batch is half filled up

    def numbers(seed: int, count: int) -> list[int]:
        stream = minibatches(data, 20, jax.random.key(seed))
        return [int(n) for _, document_bt in itertools.islice(stream, count) for n in document_bt[:, 0]]

    assert sorted(numbers(0, 3)) == list(range(6))
    assert numbers(0, 6) == numbers(0, 6)
    assert numbers(0, 6)[:6] != numbers(0, 6)[6:]
    assert numbers(0, 6) != numbers(1, 6)


def test_a_small_world_is_found() -> None:
    """Innovations, concepts beyond the floor, and an acyclic M with true edges in it."""
    world = make_world(WorldConfig(latents=8, parents=2.0, lags=1, graph="a5", own_past=True, context=100))
    batch = next(world.batches(sequences=400)())
    found = gradient(lambda: iter([batch]), latents=8, lags=1, seed=0, steps=400, tokens=2000, rate=3e-2)
    scores = recovery(world.params, found, sample(world, jax.random.key(1), 50))
    assert is_acyclic(found.process.m_kk)
    assert scores["eps_mcc"] > 0.99
    assert scores["z_mcc"] > scores["z_mcc_floor"] + 0.02
    assert scores["M_recall"] > 0.3
