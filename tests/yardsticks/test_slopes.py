"""Slopes are simple regressions, their errors cover, and an effect counts where both halves find it."""

import numpy as np
import pytest

from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.lexical import bigram
from tcr_jax.yardsticks.slopes import Slopes, confirmed, slopes
from tests.yardsticks.test_certification import B_KK, K, simulated


def test_simple_regression() -> None:
    """With one fold a document, each effect is the least squares of a target on one source, each about its mean."""
    codes = simulated(0)
    whole = CodeTable(codes.z_btk[:1], codes.token_bt[:1], codes.document_bt[:1])
    two = CodeTable(*(np.concatenate([column, column]) for column in whole))
    two.document_bt[1] = 1  # the same text twice: a fold each
    effect_lkk = slopes(two, 2, folds=2).effect_lkk
    z_tk = whole.z_btk[0]
    for lag in (1, 2):
        for target, source in ((1, 0), (2, 1), (0, 3)):
            expected = np.polyfit(z_tk[2 - lag : len(z_tk) - lag, source], z_tk[2:, target], 1)[0]
            assert effect_lkk[lag - 1, target, source] == pytest.approx(expected, abs=1e-4)


def test_t_of_no_effect() -> None:
    """|t| of pairs that nothing connects passes the 5 % point of Student's t with 7 degrees about once in twenty."""
    t = np.concatenate([slopes(simulated(seed), 1, folds=8).t_lkk[0, 3:, 3:].ravel() for seed in range(12)])
    assert 0.02 < (np.abs(t) > 2.365).mean() < 0.1


def test_within_groups() -> None:
    """An effect that the ids explain is there in all tokens and gone within pairs of ids; a true one stays."""
    codes = simulated(3, lexical=True)
    plain, within = slopes(codes, 1), slopes(codes, 1, within=bigram)
    assert plain.t_lkk[0, 5, 4] > 10 and abs(plain.effect_lkk[0, 5, 4]) > 0.5
    assert abs(within.effect_lkk[0, 5, 4]) < 0.1
    assert plain.t_lkk[0, 1, 0] > 8 and within.t_lkk[0, 1, 0] > 8


def test_confirmed() -> None:
    """True effects of both halves are kept with their mean; those of one half, or of other signs, are exactly zero."""
    first, second = slopes(simulated(0), 1), slopes(simulated(1), 1)
    std_k = simulated(0).z_btk.std(axis=(0, 1))
    kept_lkk = confirmed(first, second, std_k, effect=0.1)
    assert (kept_lkk[0][B_KK != 0] != 0).all()
    assert kept_lkk[0, 1, 0] == pytest.approx((first.effect_lkk[0, 1, 0] + second.effect_lkk[0, 1, 0]) / 2)
    assert (kept_lkk[0, 3:, 3:] == 0).all()
    assert not confirmed(first, Slopes(-second.effect_lkk, -second.t_lkk), std_k).any()
    assert not confirmed(first, Slopes(second.effect_lkk, np.zeros((1, K, K))), std_k).any()
    assert not confirmed(first, second, std_k, effect=2.0).any()


def test_too_few_documents() -> None:
    """The message has the numbers, also where it is the lags that no document is long enough for."""
    with pytest.raises(ValueError, match="3 documents cannot fill 8 folds"):
        slopes(CodeTable(*(column[:3] for column in simulated(0))), 1)
    with pytest.raises(ValueError, match="0 documents cannot fill 8 folds: .* without a token behind 64 others"):
        slopes(simulated(0), 64)
