"""Laws of the agreement between predicted and measured effects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Process, impulse_response
from tcr_jax.intervene.edges import Edge, Scales, agreement, fidelity, follow, interventions
from tcr_jax.intervene.response import Effect, Response

K, LAGS = 30, 2
SOURCES, LAG = np.repeat([1, 4, 7, 20], LAGS), np.tile([1, 2], 4)


@pytest.fixture(scope="module")
def process() -> Process:
    keys = jax.random.split(jax.random.key(0), 3)
    b_lkk = 0.2 * jax.random.normal(keys[0], (LAGS, K, K)) * (jax.random.uniform(keys[1], (LAGS, K, K)) < 0.2)
    m_kk = jnp.tril(0.02 * jax.random.normal(keys[2], (K, K)), -1)
    return Process(b_lkk=b_lkk, m_kk=m_kk, intercept_k=jnp.ones(K))


def obedient(process: Process, noise: float = 0.0) -> Response:
    """What a language model would answer that follows the process, one unit added to each source alone."""
    change_nk = np.eye(K)[SOURCES]
    mean_nhk = follow(process, change_nk, LAGS) + noise * np.random.default_rng(0).normal(size=(8, LAGS + 1, K))
    effect = Effect(mean_nhk, np.full_like(mean_nhk, 1e-4))
    return Response(SOURCES, LAG, np.full(8, 10), effect, effect)


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
    response = response._replace(code=response.code._replace(error_nhk=np.full((8, LAGS + 1, K), 1e6)))
    edges = [
        Edge(int(j), i, int(lag), (-1.0) ** (i + lag))
        for j, lag in zip(SOURCES, LAG, strict=True)
        for i in range(K)
        if i != j
    ]
    scores = agreement(interventions(edges, response, process, response.code))
    assert 0.35 < scores["signs"] < 0.65 and abs(scores["rank"]) < 0.2 and scores["precision"] < 0.05


def test_the_opposite_is_wrong_throughout(process: Process) -> None:
    """Predictions of the other sign have no precision, and their rank correlation is negative."""
    response = obedient(process)
    edges = [edge._replace(effect=-edge.effect) for edge in all_edges(process)]
    scores = agreement(interventions(edges, response, process, response.code))
    assert scores["signs"] < 0.1 and scores["rank"] < -0.9 and scores["clear"] > 0.95


SCALES = Scales(np.linspace(0.5, 2, K), np.random.default_rng(1).random(K), np.ones(K), np.ones(K))


def test_fidelity_of_a_model_that_follows_the_process(process: Process) -> None:
    """The graph names what changes; activity unrelated to it, and chance, do not."""
    process = process.replace(m_kk=None)
    response = obedient(process)
    scores = fidelity(response, process, response.code, SCALES, SOURCES > 5, pairs=20)
    assert scores["fidelity_graph"] > 3 and scores["fidelity_targets"] > 2 and scores["fidelity_graph_rms"] > 2
    assert 0.3 < scores["fidelity_activation"] < 2 and 0.5 < scores["fidelity_random"] < 2


def test_fidelity_counts_pairs_by_hand() -> None:
    """One edge of change 6 where all pairs of the two random sources change by 1 on average; own pairs do not count."""
    mean_nhk = np.ones((2, 2, 3))
    mean_nhk[0, 1] = [100, 6, 0]  # source 0
    mean_nhk[1, 1] = [0.5, 100, 1.5]  # source 1
    mean_nhk[0, 0, 0] = mean_nhk[1, 0, 1] = -1  # doses
    effect = Effect(mean_nhk, np.zeros_like(mean_nhk))
    response = Response(np.array([0, 1]), np.array([1, 1]), np.array([5, 5]), effect, effect)
    b_lkk = np.zeros((1, 3, 3))
    b_lkk[0, 1, 0], b_lkk[0, 0, 0], b_lkk[0, 2, 1] = 0.1, 9, 0.15
    graph = Process(b_lkk=b_lkk, m_kk=None, intercept_k=None)
    scales = Scales(np.array([1.0, 1, 2]), np.array([1.0, 1, 0.5]), np.ones(3), np.array([2.0, 2, 2]))
    scores = fidelity(response, graph, effect, scales, np.array([False, True]), pairs=1)
    assert scores["fidelity_graph"] == pytest.approx(6)  # in units of 1 / 2, both above and below
    assert scores["fidelity_targets"] == pytest.approx(6 / 3)
    assert scores["fidelity_graph_rms"] == pytest.approx(6 / np.sqrt((0.5**2 + 1.5**2) / 2))
    scores = fidelity(response, graph, effect, scales._replace(std_k=np.array([1, 2.0, 1])), [False, True], pairs=1)
    assert scores["fidelity_graph"] == pytest.approx(1.5)  # predicted change in the target's own unit
    scores = fidelity(
        response, graph, effect, scales._replace(strength_k=np.array([1, 9.0, 1])), [False, True], pairs=1
    )
    assert scores["fidelity_graph"] == pytest.approx(1.5)  # of sources that fire strongly
    overshot = response._replace(code=Effect(mean_nhk * np.array([1, 9])[:, None, None], effect.error_nhk))
    scores = fidelity(overshot, graph, effect, scales, np.array([False, True]), pairs=1)
    assert scores["fidelity_graph"] == pytest.approx(6)  # whatever the edit did to its own concept
    noisy = Effect(mean_nhk, np.where(np.arange(2)[:, None, None] == 1, 0.4, 0.0) + np.zeros_like(mean_nhk))
    scores = fidelity(response, graph, noisy, scales, np.array([False, True]), pairs=1)
    expected = np.sqrt(36 / ((0.5**2 + 1.5**2) / 2 - 0.4**2))
    assert scores["fidelity_graph_rms"] == pytest.approx(expected)  # noise is taken away


def test_fidelity_takes_no_pair_that_the_graph_does_not_name(process: Process) -> None:
    """Of a graph of three edges the first hundred are those three; of one without edges nothing is known."""
    edges = all_edges(process)[:3]
    lag, target, source = np.array([(edge.lag - 1, edge.target, edge.source) for edge in edges]).T
    few = Process(jnp.zeros((LAGS, K, K)).at[lag, target, source].set(1.0), None, None)
    response = obedient(few)
    scores = fidelity(response, few, response.code, SCALES, np.ones(8, bool))
    assert scores["fidelity_pairs"] == 3
    assert scores["fidelity_graph"] == pytest.approx(fidelity_of(response, lag, target, source))
    none = fidelity(response, few.replace(b_lkk=0 * few.b_lkk), response.code, SCALES, np.ones(8, bool))
    assert none["fidelity_pairs"] == 0 and np.isnan([none["fidelity_graph"], none["fidelity_targets"]]).all()


def fidelity_of(response: Response, lag: np.ndarray, target: np.ndarray, source: np.ndarray) -> float:
    """Mean |change| of some pairs over that of all pairs of different concepts."""
    size_nk = np.abs(response.code.mean_nhk[np.arange(8), LAG])
    apart_nk = np.arange(K) != SOURCES[:, None]
    row = {asked: n for n, asked in enumerate(response.asked)}
    rows = [row[j, at + 1] for at, j in zip(lag.tolist(), source.tolist(), strict=True)]
    return size_nk[rows, target].mean() / size_nk[apart_nk].mean()


def test_what_was_not_measured_is_named(process: Process) -> None:
    """A source that was not edited, or not for that lag, no edges, no lags, nothing at random."""
    response = obedient(process)
    for unasked in (Edge(2, 3, 1, 1.0), Edge(1, 3, 3, 1.0)):
        with pytest.raises(ValueError, match=f"source={unasked.source} was never edited for lag={unasked.lag}"):
            interventions([unasked], response, process, response.code)
    with pytest.raises(ValueError, match="no edges were measured"):
        agreement([])
    with pytest.raises(ValueError, match="no lags"):
        fidelity(response, process.replace(b_lkk=None), response.code, SCALES, np.ones(8, bool))
    with pytest.raises(ValueError, match="0 pairs of sources chosen at random are fewer than pairs=20"):
        fidelity(response, process, response.code, SCALES, np.zeros(8, bool), pairs=20)
