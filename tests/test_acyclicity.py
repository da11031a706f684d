"""Acyclicity: what each penalty promises, and a projection that is always a DAG."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from tcr_jax import dagma, is_acyclic, log_det, notears, project_to_dag
from tcr_jax.acyclicity import topological_order, total_effects

PENALTIES = [log_det, dagma, notears]
RNG = np.random.default_rng(0)


def random_dag(k: int = 7) -> np.ndarray:
    order = RNG.permutation(k)
    return np.float32(np.tril(RNG.normal(size=(k, k)), -1)[np.ix_(order, order)])


def cycle(length: int, gain: float) -> np.ndarray:
    """A single cycle whose effects multiply to gain ** length."""
    return np.float32(gain * np.roll(np.eye(length), 1, axis=0))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_zero_on_every_dag(penalty) -> None:
    """h(M) = 0 for M acyclic in any order."""
    for _ in range(20):
        assert abs(float(penalty(random_dag()))) < 1e-4


@pytest.mark.parametrize("penalty", [dagma, notears])
@pytest.mark.parametrize("length", [1, 2, 3, 6])
@pytest.mark.parametrize("gain", [0.8, -0.8])
def test_positive_on_every_cycle(penalty, length: int, gain: float) -> None:
    """NOTEARS and DAGMA see cycles of any length and sign (self-loops are cycles of length 1).

    NOTEARS fades factorially with the length: 6e-4 on this cycle of 6, where DAGMA has 7e-2.
    """
    assert float(penalty(cycle(length, gain))) > 3e-4


@pytest.mark.parametrize("length", [2, 3, 5])
def test_closed_forms_on_one_cycle(length: int) -> None:
    """On one cycle of n edges a: -log|1 - a^n|, -log(1 - a^2n), and n (sum_j a^2jn / (jn)!) for NOTEARS."""
    a = 0.7
    m_kk = cycle(length, a)
    np.testing.assert_allclose(log_det(m_kk), -np.log(1 - a**length), rtol=1e-4)
    np.testing.assert_allclose(dagma(m_kk), -np.log(1 - a ** (2 * length)), rtol=1e-3)
    series = [a ** (2 * length * j) / float(np.prod(np.arange(1, length * j + 1.0))) for j in range(1, 6)]
    np.testing.assert_allclose(notears(m_kk), length * np.sum(series), rtol=1e-3)


def test_log_det_misses_cycles_that_cancel() -> None:
    """Cyclic zeros exist: det(I - M) = 1 - ab - cd = 1 with gains ab = -cd. DAGMA and NOTEARS see them."""
    m_kk = np.zeros((3, 3), np.float32)
    m_kk[0, 1], m_kk[1, 0], m_kk[0, 2], m_kk[2, 0] = 0.5, 0.5, 0.5, -0.5
    assert abs(float(log_det(m_kk))) < 1e-6
    assert not is_acyclic(m_kk)
    assert float(dagma(m_kk)) > 0.1
    assert float(notears(m_kk)) > 0.1


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradients_are_finite_differences(penalty) -> None:
    """d h / d M against central differences, at a cyclic point."""
    m_kk = 0.2 * RNG.normal(size=(5, 5))
    gradient_kk = jax.grad(penalty)(jnp.float32(m_kk))
    step = 1e-2
    for i, j in [(0, 1), (3, 2), (4, 4)]:
        nudge = np.zeros_like(m_kk)
        nudge[i, j] = step
        difference = (float(penalty(m_kk + nudge)) - float(penalty(m_kk - nudge))) / (2 * step)
        np.testing.assert_allclose(gradient_kk[i, j], difference, atol=2e-3)


def test_dagma_is_infinite_where_it_means_nothing() -> None:
    """Where the determinant is not positive the value must not look like a small penalty."""
    assert float(dagma(cycle(2, 1.5))) == np.inf


def test_projection_is_a_dag_from_which_nothing_was_lost_needlessly() -> None:
    """The result is acyclic, keeps its entries as they were, and no removed edge could be put back."""
    for _ in range(10):
        m_kk = np.where(RNG.random((8, 8)) < 0.4, RNG.normal(size=(8, 8)), 0)
        kept_kk = project_to_dag(m_kk)
        assert is_acyclic(kept_kk)
        assert ((kept_kk == m_kk) | (kept_kk == 0)).all()
        for i, j in np.argwhere((m_kk != 0) & (kept_kk == 0)):
            with_edge = kept_kk.copy()
            with_edge[i, j] = m_kk[i, j]
            assert not is_acyclic(with_edge)


def test_projection_leaves_a_dag_alone_and_drops_the_weakest_of_a_cycle() -> None:
    """A fixed point on DAGs; on one cycle only its smallest effect goes."""
    dag_kk = random_dag()
    np.testing.assert_array_equal(project_to_dag(dag_kk), dag_kk)
    ring_kk = cycle(4, 0.5)
    ring_kk[2, 1] = -0.1
    expected_kk = ring_kk.copy()
    expected_kk[2, 1] = 0
    np.testing.assert_array_equal(project_to_dag(ring_kk), expected_kk)


def test_projection_in_standard_units_ignores_the_scale() -> None:
    """With the concepts' root mean squares, measuring a concept in another unit changes no decision."""
    m_kk, rms_k = np.float32(0.5 * RNG.normal(size=(6, 6))), np.float32(RNG.uniform(0.5, 2, 6))
    unit_k = np.float32(10.0 ** RNG.integers(-2, 3, 6))
    rescaled_kk = m_kk * unit_k[:, None] / unit_k
    np.testing.assert_array_equal(
        project_to_dag(m_kk, rms_k) != 0, project_to_dag(rescaled_kk, rms_k * unit_k) != 0
    )


def test_topological_order_puts_sources_first() -> None:
    """In the order found, M is strictly lower triangular; with a cycle there is no order."""
    m_kk = random_dag(9)
    order = topological_order(m_kk)
    assert order is not None
    assert not np.triu(m_kk[np.ix_(order, order)]).any()
    assert topological_order(cycle(3, 1.0)) is None


def test_total_effects_invert_the_instantaneous_ones() -> None:
    """(I - M)^{-1}, also where M is empty."""
    m_kk = np.float64(random_dag(20))
    np.testing.assert_allclose(total_effects(sp.csr_array(m_kk)) @ (np.eye(20) - m_kk), np.eye(20), atol=1e-6)
    np.testing.assert_array_equal(total_effects(sp.csr_array((3, 3))).toarray(), np.eye(3))
