"""Laws of the positions kept."""

import math
from typing import Any

import numpy as np

from tcr_jax.store import Context, Keep


def kept(keep: Keep, norm_t: Any, document_t: Any = None, mask_t: Any = None) -> list[bool]:
    """What is kept of a context of width 1 with these norms: one document and all positions, where not said."""
    t = len(norm_t)
    document_t = np.zeros(t, np.int32) if document_t is None else document_t
    mask_t = np.ones(t, bool) if mask_t is None else mask_t
    return keep(Context(np.float32(norm_t)[:, None], np.zeros(t, np.int32), document_t, mask_t)).kept_t.tolist()


def test_first_positions_and_outliers_are_dropped() -> None:
    """Early positions go whatever their norm, later ones where it is over the multiple of the median."""
    norm_t = np.array([9000.0, 400, 1, 1, 1.0, 2, 3, 6.1, 2, 1, 6.0])
    assert kept(Keep(4, 3.0), norm_t) == [False] * 4 + [True, True, True, False, True, True, True]
    assert kept(Keep(4, math.inf), norm_t) == [False] * 4 + [True] * 7


def test_what_is_not_kept_does_not_move_the_median() -> None:
    """What stays does not depend on the norms of the positions that go first, or were gone before."""
    rng = np.random.default_rng(0)
    norm_t, mask_t = rng.lognormal(sigma=1.5, size=14), np.arange(14) < 12
    huge_t = np.where((np.arange(14) < 4) | ~mask_t, 1e6, norm_t)
    assert kept(Keep(), norm_t, mask_t=mask_t) == kept(Keep(), huge_t, mask_t=mask_t)
    assert 0 < sum(kept(Keep(), norm_t, mask_t=mask_t)) < 8


def test_every_document_has_a_rule_of_its_own() -> None:
    """A context of several documents keeps of each what a context of that document alone keeps; of padding, nothing."""
    norm_t = np.random.default_rng(1).lognormal(sigma=1.5, size=30)
    norm_t[12:20] *= 100
    document_t = np.int32([7] * 12 + [3] * 8 + [8] * 3 + [-1] * 7)
    alone = [kept(Keep(2), norm_t[span]) for span in (slice(0, 12), slice(12, 20), slice(20, 23))]
    assert kept(Keep(2), norm_t, document_t) == sum(alone, []) + [False] * 7


def test_document_that_ends_early() -> None:
    """A document no longer than what is dropped keeps nothing; norms that are all zero are no outliers."""
    assert not any(kept(Keep(4), np.ones(4)))
    assert all(kept(Keep(0), np.ones(4))) and all(kept(Keep(0), np.zeros(4)))
