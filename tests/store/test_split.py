"""Held out or not: a function of the document's number alone, the same for ever."""

import numpy as np

from tcr_jax.store import is_heldout
from tcr_jax.store.split import in_split


def test_the_split_never_changes():
    """The held-out documents below 64 at one in ten, written down once: another hash would leak old held-out text."""
    assert np.flatnonzero(is_heldout(np.arange(64), 0.1)).tolist() == [7, 22, 33, 51, 59, 62]


def test_the_share_is_as_asked_and_neighbours_are_independent():
    """Of 100,000 documents the share held out is within 4 standard errors; neighbours agree no more than by chance."""
    for fraction in (0.01, 0.1, 0.5):
        heldout = is_heldout(np.arange(100_000), fraction)
        error = np.sqrt(fraction * (1 - fraction) / 100_000)
        assert abs(heldout.mean() - fraction) < 4 * error
        assert abs(np.corrcoef(heldout[1:], heldout[:-1])[0, 1]) < 4 / np.sqrt(100_000)


def test_a_larger_share_holds_out_all_that_a_smaller_one_does():
    """The splits are nested, from nobody at 0 to everybody at 1, and do not depend on the type of the numbers."""
    document = np.arange(5000)
    smaller = np.zeros(5000, bool)
    for fraction in (0.0, 0.05, 0.3, 0.9, 1.0):
        larger = is_heldout(document, fraction)
        assert not (smaller & ~larger).any()
        assert (larger == is_heldout(document.astype(np.int32), fraction)).all()
        smaller = larger
    assert not is_heldout(document, 0.0).any() and is_heldout(document, 1.0).all()


def test_every_document_is_in_exactly_one_split():
    """Train and held-out are disjoint and together all documents; dropped positions are in none."""
    document = np.arange(-3, 2000)
    train, heldout, everything = (in_split(document, split, 0.2) for split in ("train", "heldout", "all"))
    assert not (train & heldout).any()
    assert ((train | heldout) == everything).all() and (everything == (document >= 0)).all()
