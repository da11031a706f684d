"""Laws of the agreement between predicted and measured effects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Process, impulse_response
from tcr_jax.intervene.edges import Edge, agreement, fidelity, follow, interventions
from tcr_jax.intervene.response import Effect, Response

K, LAGS, SOURCES = 30, 2, np.array([1, 4, 7, 20])


@pytest.fixture(scope="module")
def process() -> Process:
    keys = jax.random.split(jax.random.key(0), 3)
    b_lkk = 0.2 * jax.random.normal(keys[0], (LAGS, K, K)) * (jax.random.uniform(keys[1], (LAGS, K, K)) < 0.2)
    m_kk = jnp.tril(0.02 * jax.random.normal(keys[2], (K, K)), -1)
    return Process(b_lkk=b_lkk, m_kk=m_kk, intercept_k=jnp.ones(K))


def obedient(process: Process, noise: float = 0.0) -> Response:
    """What a language model would answer that follows the process, one unit added to each source alone."""
    change_nk = np.eye(K)[SOURCES]
    mean_nhk = follow(process, change_nk, LAGS) + noise * np.random.default_rng(0).normal(size=(4, LAGS + 1, K))
    effect = Effect(mean_nhk, np.full_like(mean_nhk, 1e-4))
    return Response(SOURCES, np.full(4, 10), effect, effect)


def all_edges(process: Process) -> list[Edge]:
    lag, target, source = np.nonzero(np.asarray(process.b_lkk))
    b_lkk = np.asarray(process.b_lkk)
    return [
        Edge(j, i, at + 1, float(b_lkk[at, i, j]))
        for at, i, j in zip(lag.tolist(), target.tolist(), source.tolist(), strict=True)
        if j in SOURCES and i != j
    ]


def test_following_a_process_is_its_impulse_response(process: Process) -> None:
    """A unit of a concept with no effect within its token does what `impulse_response` says."""
    last = K - 1  # M is lower triangular: the last concept has no child in it
    expected_hk = impulse_response(process, last, 4).total_hk
    np.testing.assert_allclose(follow(process, np.eye(K)[[last]], 4)[0], expected_hk, atol=1e-5)


def test_a_model_that_follows_the_process_agrees_with_it(process: Process) -> None:
    """The whole process's predictions are the measurements; a single edge's have their sign nearly always."""
    response = obedient(process)
    found = interventions(all_edges(process), response, process, response.code)
    for edge in found:
        assert edge.dose == pytest.approx(1) and edge.direct == pytest.approx(edge.effect)
        assert edge.process == pytest.approx(edge.measured) and edge.occurrences == 10
    scores = agreement(found)
    assert scores["rank_process"] == pytest.approx(1) and scores["signs_process"] == 1
    assert scores["signs"] > 0.9 and scores["rank"] > 0.9 and scores["precision"] > 0.9
    assert scores["carried"] == pytest.approx(1, abs=0.1)


def test_a_model_that_knows_nothing_of_it_agrees_by_chance(process: Process) -> None:
    """Noise of no size relation: half of the signs, no rank correlation, nothing clear."""
    response = obedient(process, noise=1e6)
    response = response._replace(code=response.code._replace(error_nhk=np.full((4, LAGS + 1, K), 1e6)))
    edges = [Edge(int(j), i, lag, (-1.0) ** (i + lag)) for j in SOURCES for i in range(K) for lag in (1, 2) if i != j]
    scores = agreement(interventions(edges, response, process, response.code))
    assert 0.35 < scores["signs"] < 0.65 and abs(scores["rank"]) < 0.2 and scores["precision"] < 0.05


def test_the_opposite_is_wrong_throughout(process: Process) -> None:
    """Predictions of the other sign have no precision, and their rank correlation is negative."""
    response = obedient(process)
    edges = [edge._replace(effect=-edge.effect) for edge in all_edges(process)]
    scores = agreement(interventions(edges, response, process, response.code))
    assert scores["signs"] < 0.1 and scores["rank"] < -0.9 and scores["clear"] > 0.95


def test_fidelity_of_a_model_that_follows_the_process(process: Process) -> None:
    """The graph names what changes; activity unrelated to it, and chance, do not."""
    response = obedient(process.replace(m_kk=None))
    activity_k = np.random.default_rng(1).random(K)
    scores = fidelity(response, process, response.code, activity_k, children=5)
    assert scores["fidelity_graph"] > 3
    assert 0.3 < scores["fidelity_activation"] < 2 and 0.5 < scores["fidelity_random"] < 2


def test_what_was_not_measured_is_named(process: Process) -> None:
    """A source that was not edited, a lag beyond the horizon, no edges, no lags."""
    response = obedient(process)
    with pytest.raises(ValueError, match="source=2 was never edited"):
        interventions([Edge(2, 3, 1, 1.0)], response, process, response.code)
    with pytest.raises(ValueError, match="lag=3 was not measured"):
        interventions([Edge(1, 3, 3, 1.0)], response, process, response.code)
    with pytest.raises(ValueError, match="no edges were measured"):
        agreement([])
    with pytest.raises(ValueError, match="no lags"):
        fidelity(response, process.replace(b_lkk=None), response.code, np.ones(K))
