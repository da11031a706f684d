"""Columns of B': what is left of one when multiples of others are subtracted, and what that costs."""

import numpy as np
import pytest

from tcr_jax.identify.columns import Columns, Prior

THRESHOLD, DEVIATION = 3.0, 0.01
ANY_SIZE = Prior(threshold=THRESHOLD, size_b=1e6, size_m=1e6, price_m=1.0)
RNG = np.random.default_rng(0)
SPARSE_RK = RNG.uniform(0.2, 0.5, (96, 5)) * (RNG.random((96, 5)) < 0.25)
CHILDREN = {1: 0.6, 3: -0.4}


def columns(noise: float = 0.0, prior: Prior = ANY_SIZE) -> Columns:
    """Column 0 holds 0.6 times column 1 and -0.4 times column 3, besides entries of its own."""
    column_rk = SPARSE_RK.copy()
    for i, effect in CHILDREN.items():
        column_rk[:, 0] += effect * column_rk[:, i]
    column_rk += noise * DEVIATION * np.random.default_rng(1).normal(size=column_rk.shape)
    return Columns(column_rk, np.full_like(column_rk, DEVIATION), prior)


def test_without_noise_the_cost_counts_effects() -> None:
    """Clear entries left, children, and for every zero the noise that subtracting brought: log(sigma / sigma_r) / c."""
    own_r = SPARSE_RK[:, 0] != 0
    limit_r = columns().remainder(0, CHILDREN)[1]
    noise = np.log(limit_r / (THRESHOLD * DEVIATION))[~own_r].sum() / (THRESHOLD**2 / 2)
    assert 0 < noise < 3
    assert columns().cost(0, CHILDREN) == pytest.approx(np.count_nonzero(own_r) + 2 + noise, abs=0.05)
    assert columns().cost(1, {}) == pytest.approx(np.count_nonzero(SPARSE_RK[:, 1]))


def test_no_multiple_of_noise_passes_effects_off_as_zero() -> None:
    """A large multiple of a column of noise widens every limit beyond column 0's effects, and costs more than they."""
    column_rk = columns().column_rk.copy()
    column_rk[:, 4] = DEVIATION * np.random.default_rng(2).normal(size=len(column_rk))
    column_rk[0, 4] = 4 * DEVIATION
    of = Columns(column_rk, np.full_like(column_rk, DEVIATION), ANY_SIZE)
    u_r, limit_r = of.remainder(0, CHILDREN | {4: 1000.0})
    assert (np.abs(u_r) < limit_r).mean() > 0.9
    assert of.cost(0, CHILDREN | {4: 1000.0}) > of.cost(0, CHILDREN) + 10


def test_large_effects_cost_more_than_expected_ones() -> None:
    """In units of the expected size: u^2 / s^2 and M^2 / s_M^2, each over the threshold squared."""
    prior = Prior(threshold=THRESHOLD, size_b=0.5, size_m=0.2, price_m=1.0)
    extra = (SPARSE_RK[:, 0] ** 2).sum() / 0.5**2 + (0.6**2 + 0.4**2) / 0.2**2
    cost = columns(prior=prior).cost(0, CHILDREN)
    assert cost == pytest.approx(columns().cost(0, CHILDREN) + extra / THRESHOLD**2, abs=0.01)


def test_what_is_left_is_the_column_of_b() -> None:
    """u_0 = B'_0 - sum_i M_i0 B'_i, and its limit grows with the noise of what was subtracted."""
    u_r, limit_r = columns().remainder(0, CHILDREN)
    np.testing.assert_allclose(u_r, SPARSE_RK[:, 0], atol=1e-3)  # a posterior mean is a little small
    clear_rc = columns().column_rk[:, list(CHILDREN)] != 0
    expected_r = THRESHOLD * DEVIATION * np.sqrt(1 + clear_rc @ np.array([0.36, 0.16]))
    np.testing.assert_allclose(limit_r, expected_r, rtol=0.01)  # hardly more: zeros are known to be zeros


def test_relatives_are_candidates_first() -> None:
    """However unlike a column they are."""
    near_kk = np.zeros((5, 5), bool)
    unlike = int(columns().candidate_kc[0, -1])
    near_kk[0, unlike] = True
    of = Columns(columns().column_rk, np.full((96, 5), DEVIATION), ANY_SIZE, candidates=1).preferring(near_kk)
    assert of.candidate_kc[0].tolist() == [unlike]


def test_refitting_finds_the_effects() -> None:
    """From effects that are a little wrong to the right ones, within the noise; never at a higher cost."""
    for noise, tolerance in ((0.0, 1e-3), (1.0, 0.05)):
        wrong = {1: 0.63, 3: -0.42}
        found, cost = columns(noise).refit(0, wrong)
        assert found == pytest.approx(CHILDREN, abs=tolerance)
        assert cost == pytest.approx(columns(noise).cost(0, found))
        assert cost <= columns(noise).cost(0, wrong)


def test_children_that_do_not_pay_are_dropped() -> None:
    """An effect on a column that explains nothing."""
    found, _ = columns().pruned(0, CHILDREN | {4: 0.05})
    assert found == pytest.approx(CHILDREN, abs=1e-3)


def test_regressions_find_children_among_those_allowed() -> None:
    """All candidates at once; one that is not allowed is not used."""
    of = columns(1.0)
    allowed_ac = np.ones((2, of.candidate_kc.shape[1]), bool)
    allowed_ac[1] = of.candidate_kc[0] != 3
    free, bound = of.regress(np.array([0, 0]), allowed_ac, 0.05)
    assert free == pytest.approx(CHILDREN, abs=0.05)
    assert 3 not in bound


def test_the_best_addition_is_the_missing_child() -> None:
    """With one child given, the other is what lowers the cost most, by as much as the cost then falls."""
    of = columns()
    fewer = {1: CHILDREN[1]}
    effect_ac, change_ac = of.additions([of.remainder(0, fewer)], np.array([0]))
    best = int(change_ac[0].argmin())
    assert of.candidate_kc[0, best] == 3
    assert effect_ac[0, best] == pytest.approx(CHILDREN[3], abs=1e-3)
    assert change_ac[0, best] == pytest.approx(of.cost(0, CHILDREN) - of.cost(0, fewer), abs=1e-3)
