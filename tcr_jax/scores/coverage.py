"""How often intervals hold the truth."""

import numpy as np
from scipy.special import ndtri

from tcr_jax.params import Process
from tcr_jax.scores.alignment import align
from tcr_jax.scores.matching import Matching


def coverage(
    true: Process,
    found: Process,
    errors: Process,
    matching: Matching,
    level: float = 0.95,
    leave_out_k: np.ndarray | None = None,
) -> dict[str, tuple[int, int]]:
    """For B and for M: how many true effects lie within estimate +- q standard error, and of how many.

    Counted are effects that are there and were found: of an effect that was missed, or is none, no interval is given.
    Both processes must be in the same units, such as unit-norm decoder rows: only order and sign are matched.

    Args:
      true: the known process.
      found: an estimate, in its own numbering.
      errors: its standard errors, laid out like it.
      matching: of z.
      level: of the intervals, for a normal error.
      leave_out_k: concepts as they were found, whose effects, out of them and into them, do not count.
    """
    sign_k = np.sign(matching.similarity_k)
    found, errors = align(found, matching, sign_k), align(errors, matching, sign_k)
    counted_kk = np.ones((len(sign_k),) * 2, bool)
    if leave_out_k is not None:
        counted_k = ~np.asarray(leave_out_k)[matching.found_k]
        counted_kk = counted_k[:, None] & counted_k
    within: dict[str, tuple[int, int]] = {}
    for name, field in (("B", "b_lkk"), ("M", "m_kk")):
        truth, estimate, error = (np.asarray(getattr(process, field)) for process in (true, found, errors))
        both = (truth != 0) & (estimate != 0) & counted_kk
        inside = np.abs(estimate - truth)[both] <= ndtri((1 + level) / 2) * np.abs(error)[both]
        within[name] = int(inside.sum()), int(both.sum())
    return within
