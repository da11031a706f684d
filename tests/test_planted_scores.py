"""Laws of what is estimated of planted relations: on codes of which it is known what follows what."""

from functools import reduce

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.planted_scores import covariance, estimates, fold_moments, labels, likeness, recovered, with_labels
from experiments.planted_text import TEMPLATES
from tcr_jax.closed_form import CodeMoments, code_moments, merge
from tcr_jax.params import Process
from tcr_jax.typing import DROPPED
from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.planted import Pair

K, LAGS = 24, 3
PAIRS = [Pair(2 * n, 2 * n + 1) for n in range(len(TEMPLATES))]
PIECES = [" word", " appeals", " affirmed", "</", "note", ">", " in", " 3", " May"]


def planted_codes() -> CodeTable:
    """Of each pair the target follows its source two tokens later, or fires with it, in four of five cases."""
    random = np.random.default_rng(0)
    z_btk = (random.random((120, 60, K)) < 0.05) * (0.5 + random.random((120, 60, K)))
    for template, (source, target) in zip(TEMPLATES, PAIRS, strict=True):
        lag = 2 if template.gap else 0
        kept_bt = random.random((120, 60)) < 0.8
        z_btk[:, lag:, target] += (z_btk * kept_bt[..., None])[:, : 60 - lag, source]
    document_bt = np.repeat(np.arange(120) // 2, 60).reshape(120, 60)
    document_bt[:, 40:] += 1000
    document_bt[:, :3] = DROPPED
    return CodeTable(z_btk.astype(np.float16), np.zeros((120, 60), int), document_bt)


@pytest.fixture(scope="module")
def folds() -> list[CodeMoments]:
    return fold_moments(planted_codes(), LAGS, K, folds=6)


@pytest.fixture(scope="module")
def processes(folds: list[CodeMoments]) -> dict[str, Process]:
    return estimates(folds, parents=4, within=3)


def test_folds_together_are_the_whole(folds: list[CodeMoments]) -> None:
    """Every document is in one fold, with all of its tokens, also where a context holds two."""
    codes = planted_codes()
    whole = code_moments([(jnp.float32(codes.z_btk), jnp.asarray(codes.document_bt))], LAGS, K)
    merged = reduce(merge, folds)
    assert merged.tokens == whole.tokens == sum(fold.tokens for fold in folds)
    assert min(fold.tokens for fold in folds) > 0
    for ours, theirs in zip(merged.cross_lkk, whole.cross_lkk, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("estimate", ["regression", "closed form", "closed form, certified"])
def test_what_was_planted_stands_out(estimate: str, folds: list[CodeMoments], processes: dict[str, Process]) -> None:
    """Delayed and instantaneous, above every pair that was not."""
    std_k = np.sqrt(np.diagonal(covariance(reduce(merge, folds))))
    found = recovered(processes[estimate], std_k, PAIRS)
    assert [(recovery.rank, recovery.rank_of_target) for recovery in found] == [(1, 1)] * len(PAIRS)
    assert min(recovery.score for recovery in found) > 5
    wrong = recovered(
        processes[estimate],
        std_k,
        [Pair(p.source, q.target) for p, q in zip(PAIRS, PAIRS[1:] + PAIRS[:1], strict=True)],
    )
    assert max(recovery.coefficient for recovery in wrong) < 0.1


def test_a_certified_effect_is_smaller_and_chance_has_none(processes: dict[str, Process]) -> None:
    """Of effects that are there it keeps the sign and most of the size; nearly all others vanish."""
    whole, certified = (np.asarray(processes[name].b_lkk) for name in ("closed form", "closed form, certified"))
    assert (np.abs(certified) <= np.abs(whole)).all() and (certified * whole >= 0).all()
    true_lkk = np.zeros(whole.shape, bool)
    for template, (source, target) in zip(TEMPLATES, PAIRS, strict=True):
        true_lkk[1, target, source] = template.gap > 0
    assert (certified[true_lkk] > 0.5 * whole[true_lkk]).all()
    others = ~true_lkk & (whole != 0)
    assert others.sum() > 30 and (certified[others] != 0).mean() < 0.1


def test_labels_of_positions_and_their_concepts() -> None:
    """Carriers in each context, none where a token is dropped; given labels take the place of the concepts found."""
    token_bt = np.array([[0, 1, 0, 2, 0, 1], [3, 4, 5, 6, 7, 8]])
    codes = CodeTable(np.zeros((2, 6, 20), np.float16), token_bt, np.array([[0] * 5 + [DROPPED], [1] * 6]))
    label_btl = labels(codes, PIECES)
    names = [(t.name, end) for t in TEMPLATES for end in ("source", "target")]
    carried = {(names[n], b, t) for b, t, n in np.argwhere(label_btl).tolist()}
    assert carried == {
        (("appeals -> affirmed", "source"), 0, 1),
        (("appeals -> affirmed", "target"), 0, 3),
        (("tag name <-> closing tag", "source"), 1, 1),
        (("tag name <-> closing tag", "target"), 1, 1),
        (("month <-> full date", "source"), 1, 5),
        (("month <-> full date", "target"), 1, 5),
    }
    concept_l = np.arange(len(names))[::-1]
    given = with_labels(codes, label_btl, concept_l)
    np.testing.assert_array_equal(given.z_btk[..., concept_l], label_btl)
    assert not codes.z_btk.any() and not given.z_btk[..., len(names) :].any()


def test_likeness_is_over_kept_tokens() -> None:
    """What a dropped position holds changes nothing."""
    random = np.random.default_rng(0)
    codes = planted_codes()
    label_btl = random.random((120, 60, 2)) < 0.3
    other = codes._replace(z_btk=np.where((codes.document_bt < 0)[..., None], 9, codes.z_btk).astype(np.float16))
    np.testing.assert_array_equal(likeness(codes, label_btl), likeness(other, label_btl))
