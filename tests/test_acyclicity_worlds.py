"""The processes that ways of keeping M acyclic are compared on."""

import numpy as np

from experiments.acyclicity_worlds import world
from tcr_jax import is_acyclic


def test_the_numbering_is_all_that_ordered_changes() -> None:
    """The same seed gives the same concepts in another order; M is a DAG, and lower triangular where ordered."""
    shape = {"spread": 2.0, "faint": 0.25, "contexts": 4, "context": 16}
    ordered, shuffled = (world(3, 12, ordered=ordered, **shape) for ordered in (True, False))
    assert not np.triu(ordered.m_kk).any()
    assert np.triu(shuffled.m_kk).any() and is_acyclic(shuffled.m_kk)
    distance_kk = np.abs(shuffled.z_ntk[..., None] - ordered.z_ntk[..., None, :]).sum((0, 1))
    number = distance_kk.argmin(axis=1)
    np.testing.assert_array_equal(shuffled.z_ntk, ordered.z_ntk[..., number])
    np.testing.assert_array_equal(shuffled.m_kk, ordered.m_kk[np.ix_(number, number)])
    faint_k = ordered.z_ntk.std((0, 1)) < 0.01
    assert 0 < faint_k.sum() < 12
    assert not ordered.m_kk[faint_k].any() and not ordered.m_kk[:, faint_k].any()
