"""Laws of the positions kept."""

import numpy as np

from tcr_jax.extract.keep import Keep


def test_first_positions_and_outliers_are_dropped() -> None:
    """Early positions go whatever their norm, later ones where it is over the multiple of the median."""
    norm_t = np.array([9000.0, 400, 1, 1, 1.0, 2, 3, 6.1, 2, 1, 6.0])
    assert Keep(first=4, outlier=3.0)(norm_t).tolist() == [False] * 4 + [True, True, True, False, True, True, True]


def test_early_norms_do_not_move_the_median() -> None:
    """What stays does not depend on the norms of the positions that go first."""
    rng = np.random.default_rng(0)
    norm_t = rng.lognormal(sigma=1.5, size=12)
    huge_t = np.where(np.arange(12) < 4, 1e6, norm_t)
    assert (Keep()(norm_t) == Keep()(huge_t)).all()
    assert not Keep()(norm_t).all()


def test_chunk_that_ends_early() -> None:
    """A chunk no longer than what is dropped keeps nothing."""
    assert not Keep(first=4)(np.ones(4)).any()
    assert Keep(first=0)(np.ones(4)).all()
