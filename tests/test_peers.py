"""The estimators that are compared: each finds what it is able to find, and says what it cannot."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from experiments.peers import ESTIMATORS, estimate, jacobian
from tcr_jax import is_acyclic
from tcr_jax.knobs import ConfigError
from tcr_jax.scores import recovery
from tcr_jax.worlds import World, WorldConfig, make_world, sample

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::SyntaxWarning")

Scored = Callable[..., dict[str, float]]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(WorldConfig(latents=8, parents=2.0, lags=1, own_past=True, context=200))


@pytest.fixture(scope="module")
def scored(world: World) -> Scored:
    """`scored(NAME)`: the scores of an estimator on this world, on data that it has not seen."""
    batches = [jax.block_until_ready(batch) for batch in world.batches(200, batch=128)()]
    fresh = sample(world, jax.random.key(1), 50)

    def score(name: str) -> dict[str, Any]:
        lines: list[str] = []
        sizes = {"latents": 8, "lags": 1, "seed": 0}
        found = estimate(name, lambda: iter(batches), world.params.dictionary, **sizes, say=lines.append)
        assert is_acyclic(found.process.m_kk)
        return {**recovery(world.params, found, fresh), "lines": lines}

    return score


def test_without_m_the_floor_is_reached_and_not_passed(scored: Scored) -> None:
    """VAR and FastICA find z' and the innovations, and z as well as an estimator without M can."""
    pytest.importorskip("sklearn")
    scores = scored("var_fastica")
    assert scores["eps_mcc"] > 0.99
    assert scores["zprime_mcc"] > 0.99
    assert scores["z_mcc"] == pytest.approx(scores["z_mcc_floor"], abs=0.01)
    assert scores["M_recall"] == 0


def test_an_l1_norm_of_m_passes_the_floor(scored: Scored) -> None:
    """With an L1-penalised M z is found better than without."""
    pytest.importorskip("sklearn")
    scores = scored("l1_m")
    assert scores["z_mcc"] > (1 + scores["z_mcc_floor"]) / 2
    assert scores["M_recall"] > 0.6


def test_the_least_l1_norm_is_that_of_a_linear_program() -> None:
    """|B' (I - M)|_1 + |M|_1 is as small as an exact solver makes it; forbidden entries are exactly zero."""
    pytest.importorskip("sklearn")
    from experiments.peers.l1_m import least_l1

    rng = np.random.default_rng(0)
    b_pk = rng.normal(size=(12, 6)) * (rng.random((12, 6)) < 0.5)
    allowed_kk = ~np.eye(6, dtype=bool) & (rng.random((6, 6)) < 0.8)
    m_kk = np.asarray(least_l1(jnp.float32(b_pk), jnp.asarray(allowed_kk)), np.float64)
    least = 0.0
    for column_p, allowed_k in zip(b_pk.T, allowed_kk.T, strict=True):
        sources_pk = b_pk[:, allowed_k]
        count, free = sources_pk.shape
        equal = np.concatenate([np.eye(count), -np.eye(count), sources_pk, -sources_pk], axis=1)
        least += linprog(np.ones(2 * (count + free)), A_eq=equal, b_eq=column_p).fun
    assert not m_kk[~allowed_kk].any()
    assert np.abs(b_pk - b_pk @ m_kk).sum() + np.abs(m_kk).sum() == pytest.approx(least, rel=1e-5)


def test_varlingam_finds_the_process_of_concepts_that_it_is_given(scored: Scored) -> None:
    """On its home ground it finds nearly every edge; beyond its size it refuses."""
    pytest.importorskip("lingam")
    scores = scored("varlingam")
    assert scores["z_mcc"] > 0.999
    assert scores["M_f1"] > 0.9
    assert scores["B_f1"] > 0.9
    from experiments.peers.varlingam import varlingam

    with pytest.raises(ConfigError, match="latents=81: varlingam takes hours beyond 80"):
        varlingam(lambda: iter(()), latents=81, lags=1, seed=0)


def test_the_published_objective_runs_on_a_stream(world: World) -> None:
    """It returns ordinary parameters with a triangular M, and reconstructs."""
    from experiments.peers.gradient_paper import gradient_paper

    batches = world.batches(20)
    lines: list[str] = []
    found = gradient_paper(batches, latents=8, lags=1, seed=0, steps=100, say=lines.append)
    assert found.dictionary.activation == "identity"
    assert not np.triu(found.process.m_kk).any() and np.tril(found.process.m_kk).any()
    np.testing.assert_allclose(np.linalg.norm(found.dictionary.decoder_kd, axis=1), 1, rtol=1e-5)
    assert len(lines) == 10 and lines[-1].startswith("step 100/100: loss ")


def test_every_estimator_is_there() -> None:
    """The registry names modules that exist."""
    import importlib.util

    for estimator in ESTIMATORS.values():
        assert importlib.util.find_spec(estimator.module) is not None


def test_the_jacobian_is_that_of_the_networks() -> None:
    """d eps / d z_t as autodiff of all networks together has it; a step of Adam lowers the loss."""
    state = jacobian.init(3, 1, jax.random.key(0))
    lagged_nf = jax.random.normal(jax.random.key(1), (5, 6))
    _, jacobian_nkk = jacobian.innovations_and_jacobian(state.networks, lagged_nf)

    def innovations(row_f: jax.Array) -> jax.Array:
        return jacobian.innovations_and_jacobian(state.networks, row_f[None])[0][0]

    expected = jax.vmap(jax.jacfwd(innovations))(lagged_nf)[..., :3]
    np.testing.assert_allclose(jacobian_nkk, expected, rtol=1e-5, atol=1e-6)
    before = float(jacobian.loss(state.networks, lagged_nf))
    state, value = jax.jit(jacobian.step)(state, lagged_nf)
    assert float(value) == pytest.approx(before, rel=1e-5)
    assert float(jacobian.loss(state.networks, lagged_nf)) < before
