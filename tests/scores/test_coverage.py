"""Coverage: counted on effects that are there and were found, in the true numbering."""

import jax.numpy as jnp
import numpy as np

from tcr_jax.params import Process
from tcr_jax.scores import Matching, coverage


def process(b_kk: list[list[float]], m_kk: list[list[float]]) -> Process:
    return Process(b_lkk=jnp.array([b_kk]), m_kk=jnp.array(m_kk), intercept_k=None)


def test_intervals_are_compared_in_the_true_numbering_and_sign() -> None:
    """Found concept 1 is true concept 0, its sign turned; of B one effect is inside, one outside, one missed."""
    true = process([[0.5, 0.3], [0.0, 0.4]], [[0.0, 0.0], [0.6, 0.0]])
    found = process([[0.41, 0.0], [0.0, 0.9]], [[0.0, -0.61], [0.0, 0.0]])
    errors = process([[0.01, 0.0], [0.0, 0.1]], [[0.0, 0.01], [0.0, 0.0]])
    matching = Matching(found_k=np.array([1, 0]), similarity_k=np.array([-1.0, 1.0]))
    assert coverage(true, found, errors, matching) == {"B": (1, 2), "M": (1, 1)}
    wide = coverage(true, found, errors, matching, level=1 - 1e-6)
    assert wide == {"B": (2, 2), "M": (1, 1)}


def test_what_is_left_out_does_not_count() -> None:
    """Effects into a concept and out of it, in the found numbering."""
    true = process([[0.5, 0.3], [0.2, 0.4]], [[0.0, 0.0], [0.6, 0.0]])
    matching = Matching(found_k=np.array([1, 0]), similarity_k=np.ones(2))
    swapped = process([[0.4, 0.2], [0.3, 0.5]], [[0.0, 0.6], [0.0, 0.0]])
    errors = process([[0.1, 0.1], [0.1, 0.1]], [[0.0, 0.1], [0.0, 0.0]])
    assert coverage(true, swapped, errors, matching) == {"B": (4, 4), "M": (1, 1)}
    left = coverage(true, swapped, errors, matching, leave_out_k=np.array([True, False]))
    assert left == {"B": (1, 1), "M": (0, 0)}
