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
    """Clear entries left, and children."""
    own = np.count_nonzero(SPARSE_RK[:, 0])
    assert columns().cost(0, CHILDREN) == pytest.approx(own + 2)
    assert columns().cost(1, {}) == pytest.approx(np.count_nonzero(SPARSE_RK[:, 1]))


def test_large_effects_cost_more_than_expected_ones() -> None:
    """In units of the expected size: u^2 / s^2 and M^2 / s_M^2, each over the threshold squared."""
    prior = Prior(threshold=THRESHOLD, size_b=0.5, size_m=0.2, price_m=1.0)
    extra = (SPARSE_RK[:, 0] ** 2).sum() / 0.5**2 + (0.6**2 + 0.4**2) / 0.2**2
    cost = columns(prior=prior).cost(0, CHILDREN)
    assert cost == pytest.approx(columns().cost(0, CHILDREN) + extra / THRESHOLD**2)


def test_what_is_left_is_the_column_of_b() -> None:
    """u_0 = B'_0 - sum_i M_i0 B'_i, and its limit grows with the noise of what was subtracted."""
    u_r, limit_r = columns().remainder(0, CHILDREN)
    np.testing.assert_allclose(u_r, SPARSE_RK[:, 0], atol=1e-12)
    clear_rc = columns().column_rk[:, list(CHILDREN)] != 0
    np.testing.assert_allclose(limit_r, THRESHOLD * DEVIATION * np.sqrt(1 + clear_rc @ np.array([0.36, 0.16])))


def test_refitting_finds_the_effects() -> None:
    """From effects that are a little wrong to the right ones, within the noise; never at a higher cost."""
    for noise, tolerance in ((0.0, 1e-6), (1.0, 0.05)):
        wrong = {1: 0.63, 3: -0.42}
        found, cost = columns(noise).refit(0, wrong)
        assert found == pytest.approx(CHILDREN, abs=tolerance)
        assert cost == pytest.approx(columns(noise).cost(0, found))
        assert cost <= columns(noise).cost(0, wrong)


def test_children_that_do_not_pay_are_dropped() -> None:
    """An effect on a column that explains nothing."""
    found, _ = columns().pruned(0, CHILDREN | {4: 0.05})
    assert found == pytest.approx(CHILDREN)


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
    assert effect_ac[0, best] == pytest.approx(CHILDREN[3], abs=1e-4)
    assert change_ac[0, best] == pytest.approx(of.cost(0, CHILDREN) - of.cost(0, fewer), abs=1e-3)
