"""A found process in the numbering, signs and units of the true one."""

import jax.numpy as jnp
import numpy as np

from tcr_jax.params import Process
from tcr_jax.scores.matching import Matching
from tcr_jax.typing import Array


def align(process: Process, matching: Matching, scale_k: Array | np.ndarray) -> Process:
    """W[i, j] = scale_i W^[found_i, found_j] / scale_j for every B_l and M, where z_i = scale_i z^_{found_i}.

    A true concept without a counterpart has no effects in the result, and found concepts that stand for none are left
    out. Exact zeros stay zeros.

    Args:
      process: as found.
      matching: of true concepts with found ones.
      scale_k: units of a true concept for one unit of its counterpart, with the sign.

    Raises:
      ValueError: a matched concept's scale is zero or not finite.

    >>> import jax.numpy as jnp, numpy as np
    >>> found = Process(b_lkk=None, m_kk=jnp.array([[0.0, 0.5], [0.25, 0.0]]), intercept_k=None)
    >>> align(found, Matching(np.array([1, 0]), np.ones(2)), np.array([1.0, -4.0])).m_kk.tolist()
    [[0.0, -0.0625], [-2.0, 0.0]]
    """
    matched_k = matching.found_k >= 0
    scale_k = np.asarray(scale_k, np.float32)
    unusable_k = matched_k & (~np.isfinite(scale_k) | (scale_k == 0))
    if unusable_k.any():
        concept = int(np.argmax(unusable_k))
        raise ValueError(
            f"scale_k[{concept}]={scale_k[concept]} of a matched concept: it must be finite and not zero; leave a "
            "concept that never varies unmatched (-1)"
        )
    found_k = jnp.asarray(np.where(matched_k, matching.found_k, 0))
    into_k = jnp.asarray(np.where(matched_k, scale_k, 0))
    out_of_k = jnp.asarray(np.where(matched_k, 1 / np.where(matched_k, scale_k, 1), 0))

    def renumber(matrix_kk: Array | None) -> Array | None:
        """The same for M and for a stack of B_l."""
        if matrix_kk is None:
            return None
        return into_k[:, None] * matrix_kk[..., found_k[:, None], found_k] * out_of_k

    return Process(
        b_lkk=renumber(process.b_lkk),
        m_kk=renumber(process.m_kk),
        intercept_k=None if process.intercept_k is None else into_k * process.intercept_k[found_k],
    )
