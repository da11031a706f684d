"""Numbers of edges against their definitions, computed the long way on a small world."""

import dataclasses

import jax
import numpy as np
import pytest

from tcr_jax import encode, history, predict
from tcr_jax.checkpoint import Run
from tcr_jax.relations.baselines import absolute_ratio, lag_losses, predictors
from tcr_jax.relations.edges import Ranking, rank, shares
from tcr_jax.relations.evidence import Evidence, gather, merge
from tcr_jax.store import Batch, Store, ordered_batches


@pytest.fixture(scope="module")
def batches(run: Run, store: Store) -> list[Batch]:
    """The held-out text, in batches of which the last is filled up."""
    return list(ordered_batches(store, split="heldout", heldout=run.config.heldout, batch=7))


@pytest.fixture(scope="module")
def evidence(run: Run, batches: list[Batch]) -> Evidence:
    gathered = gather(run.params, batches)
    assert gathered is not None
    return gathered


@pytest.fixture(scope="module")
def ranking(run: Run, evidence: Evidence) -> Ranking:
    return rank(run.params.process, evidence, count=10, support=1)


class Scored:
    """Every scored token of the held-out text laid out, with copies of the tokens before it."""

    def __init__(self, run: Run, batches: list[Batch]) -> None:
        process, lags = run.params.process, len(run.params.process.b_lkk)
        rows, self.past, self.present = [], [], []
        for batch in batches:
            z_btk = np.asarray(encode(run.params.dictionary, batch.x_btd))
            past_btk, present_btk = jax.vmap(predict, (None, 0, 0))(process, z_btk, batch.document_bt)
            for b, t in np.argwhere(jax.vmap(history, (0, None))(batch.document_bt, lags)):
                rows.append([z_btk[b, t - lag] for lag in range(lags + 1)])
                self.past.append(past_btk[b, t])
                self.present.append(present_btk[b, t])
        self.z_nlk = np.array(rows, np.float64)  # index 0 is the token itself
        self.past, self.present = np.array(self.past, np.float64), np.array(self.present, np.float64)
        self.z = self.z_nlk[:, 0]
        self.eps = self.z - self.past - self.present


@pytest.fixture(scope="module")
def scored(run: Run, batches: list[Batch]) -> Scored:
    return Scored(run, batches)


def test_share_is_the_rise_of_the_error_without_the_edge(ranking: Ranking, scored: Scored) -> None:
    """share = (MSE of the innovation with this contribution replaced by its mean - MSE) / variance of the target."""
    assert len(ranking.edges) == 5
    for edge in ranking.edges:
        contribution = edge.weight * scored.z_nlk[:, edge.lag, edge.source]
        eps = scored.eps[:, edge.target]
        without = eps + contribution - contribution.mean()
        rise = (np.mean(without**2) - np.mean(eps**2)) / scored.z[:, edge.target].var()
        np.testing.assert_allclose(edge.share, rise, rtol=1e-3, atol=1e-5)


def test_coefficient_lift_and_joint_firings(ranking: Ranking, scored: Scored) -> None:
    """Standard deviations per standard deviation, and counts of firings, as defined."""
    for edge in ranking.edges:
        source, target = scored.z_nlk[:, edge.lag, edge.source], scored.z[:, edge.target]
        np.testing.assert_allclose(edge.coefficient, edge.weight * source.std() / target.std(), rtol=1e-3)
        both = (source != 0) & (target != 0)
        assert edge.joint == both.sum()
        np.testing.assert_allclose(edge.lift, both.mean() / ((source != 0).mean() * (target != 0).mean()), rtol=1e-5)


def test_true_relations_come_first_and_a_false_one_last(ranking: Ranking) -> None:
    """The world's effects explain variance; the one that its data lack explains none, and loops stand apart."""
    found = [(edge.source, edge.target, edge.lag) for edge in ranking.delayed]
    assert found == [(0, 1, 1), (2, 3, 2), (2, 7, 1)]
    assert ranking.delayed[1].share > 0.1 and ranking.delayed[2].share < 0.02
    assert [(edge.source, edge.target, edge.lag) for edge in ranking.instantaneous] == [(5, 6, 0)]
    assert [(edge.source, edge.target, edge.lag) for edge in ranking.loops] == [(4, 4, 1)]


def test_a_harmful_edge_has_a_negative_share(run: Run, batches: list[Batch]) -> None:
    """An effect that the text contradicts raises the error, and its share says so."""
    wrong = run.params.replace(process=run.params.process.replace(b_lkk=run.params.process.b_lkk.at[0, 6, 0].set(0.5)))
    evidence = gather(wrong, batches)
    assert evidence is not None
    edges = rank(wrong.process, evidence, count=10).delayed
    assert (edges[-1].source, edges[-1].target) == (0, 6)
    assert edges[-1].share < -0.05


def test_unsupported_edges_come_last(run: Run, evidence: Evidence, ranking: Ranking) -> None:
    """However large its share, an edge with too few joint firings stands behind every supported one."""
    strongest, second, _ = ranking.delayed
    support = min(strongest.joint, second.joint) + 1
    edges = rank(run.params.process, evidence, count=10, support=support).delayed
    assert [edge.supported for edge in edges] == sorted((edge.supported for edge in edges), reverse=True)
    assert not all(edge.supported for edge in edges)


def test_effects_of_silent_concepts_are_counted_not_ranked(run: Run, batches: list[Batch]) -> None:
    """An effect of a concept that never fires in held-out text has no evidence."""
    dictionary = run.params.dictionary
    deaf = dictionary.replace(encoder_bias_k=dictionary.encoder_bias_k.at[0].set(-1e6))
    evidence = gather(run.params.replace(dictionary=deaf), batches)
    assert evidence is not None
    ranking = rank(run.params.process, evidence, count=10)
    assert ranking.unseen == 1
    assert all(0 not in (edge.source, edge.target) for edge in ranking.edges)


def test_baselines_are_the_r2_of_their_predictions(evidence: Evidence, scored: Scored, run: Run) -> None:
    """Each row against its definition; the mean of the text scores exactly 0."""
    process = run.params.process
    own = np.einsum("lii,nli->ni", process.b_lkk, scored.z_nlk[:, 1:])
    through = np.linalg.solve(np.eye(own.shape[1]) - np.asarray(process.m_kk, np.float64), scored.past.T).T
    whole = scored.past + scored.present
    predictions = {
        "zero": np.zeros_like(own),
        "mean": np.broadcast_to(scored.z.mean(0), own.shape),
        "own past": own + (whole - own).mean(0),
        "past": scored.past + scored.present.mean(0),
        "past, through M": through,
        "present": scored.present + scored.past.mean(0),
        "past and present": whole,
    }
    rows = {row.name: row for row in predictors(evidence)}
    assert list(rows) == list(predictions)
    for name, prediction in predictions.items():
        error_k = ((scored.z - prediction) ** 2).mean(0)
        np.testing.assert_allclose(rows[name].r2, 1 - error_k.sum() / scored.z.var(0).sum(), atol=1e-4)
        np.testing.assert_allclose(rows[name].median_r2, np.median(1 - error_k / scored.z.var(0)), atol=1e-3)
    assert rows["mean"].r2 == 0
    np.testing.assert_allclose(absolute_ratio(evidence), np.abs(scored.eps).mean() / np.abs(scored.z).mean(), rtol=1e-4)


def test_lag_losses_are_the_r2_lost_without_a_lag(evidence: Evidence, scored: Scored, run: Run) -> None:
    """All of M, or all of one B_l, replaced by its mean."""
    weights = [run.params.process.m_kk, *run.params.process.b_lkk]
    for lag, (weight, loss) in enumerate(zip(weights, lag_losses(evidence), strict=True)):
        part = scored.z_nlk[:, lag] @ np.asarray(weight, np.float64).T
        rise = ((scored.eps + part - part.mean(0)) ** 2).mean(0) - (scored.eps**2).mean(0)
        np.testing.assert_allclose(loss, rise.sum() / scored.z.var(0).sum(), atol=1e-4)


def test_evidence_of_halves_adds_up(run: Run, batches: list[Batch], evidence: Evidence, ranking: Ranking) -> None:
    """Merged halves are the whole, and shares of given edges do not depend on how they were chosen."""
    merged = merge(gather(run.params, batches[:3]), gather(run.params, batches[3:]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), merged, evidence)
    again = shares(run.params.process, evidence, ranking.edges)
    np.testing.assert_allclose(again, [edge.share for edge in ranking.edges])


def test_other_documents_and_dropped_positions_are_not_read(run: Run, batches: list[Batch], evidence: Evidence) -> None:
    """Numbers stay where activations of dropped positions (the other split, padding) change."""
    changed = [
        batch._replace(x_btd=np.where((batch.document_bt < 0)[..., None], batch.x_btd + 5, batch.x_btd))
        for batch in batches
    ]
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), gather(run.params, changed), evidence)


@pytest.mark.parametrize("missing", ["b_lkk", "m_kk", "intercept_k"])
def test_a_part_that_the_process_lacks_is_left_out(run: Run, batches: list[Batch], missing: str) -> None:
    """Without B there are no delayed edges and no rows of the past, without M no instantaneous ones."""
    params = run.params.replace(process=dataclasses.replace(run.params.process, **{missing: None}))
    evidence = gather(params, batches)
    assert evidence is not None
    ranking, names = rank(params.process, evidence, count=10), [row.name for row in predictors(evidence)]
    assert bool(ranking.delayed) == (missing != "b_lkk") == ("past" in names) == ("own past" in names)
    assert bool(ranking.instantaneous) == (missing != "m_kk") == ("present" in names)
    assert "past and present" in names
    assert np.isnan(lag_losses(evidence)[0]) == (missing == "m_kk")
