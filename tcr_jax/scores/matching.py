"""Which found concept stands for which true one: the assignment of greatest total similarity, exact and fast.

A dense assignment takes O(k^3) at worst, and most concepts need none of it. Let some rows be *settled*, each at a
column of its own where its weight |similarity| is greatest, by a margin over its second best. Whoever takes that column
costs the settled row at least its margin. So no assignment is worth more than

    sum over settled rows of their greatest weight
    + best assignment of the other rows alone, with the margins deducted from the settled columns,

and if that best assignment leaves the settled columns alone, the two together attain this bound: they are optimal.
If not, the rows whose columns it took are settled no more, and the others are assigned again. The end, at the latest,
is the ordinary assignment of all rows: the result is always optimal (up to the rounding of sums).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from tcr_jax.typing import Array

UNMATCHED = -1
"""The found concept of a true one for which none is left."""


class Matching(NamedTuple):
    """For every true concept, the found one that stands for it."""

    found_k: np.ndarray  # its index; UNMATCHED where fewer were found than are true
    similarity_k: np.ndarray  # of the pair, with its sign; 0 where unmatched


def match(similarity_kk: Array | np.ndarray) -> Matching:
    """The one-to-one matching that maximises sum_i |similarity[i, found_i]|, as many pairs as the smaller side has.

    Args:
      similarity_kk: [true, found], signed, such as `correlations`; not necessarily square.

    Returns:
      `Matching`, on the host.

    Raises:
      ValueError: an entry is not finite, or there is none.

    >>> import numpy as np
    >>> match(np.array([[0.9, -0.8], [0.8, 0.1]])).found_k.tolist()   # 0.8 + 0.8 is more than 0.9 + 0.1
    [1, 0]
    """
    signed_kk = np.asarray(similarity_kk)
    if signed_kk.ndim != 2 or not signed_kk.size:
        raise ValueError(f"similarity_kk of shape {signed_kk.shape} must be [true, found] with at least one of each")
    finite_kk = np.isfinite(signed_kk)
    if not finite_kk.all():
        true, found = np.argwhere(~finite_kk)[0]
        raise ValueError(
            f"similarity_kk[{true}, {found}] is {signed_kk[true, found]}: the samples of true concept {true} or of "
            f"found concept {found} are not finite; mend or drop them"
        )
    true_k = np.arange(len(signed_kk))
    if signed_kk.shape[0] <= signed_kk.shape[1]:
        found_k = _assign(np.abs(signed_kk))
    else:
        found_k = np.full(len(signed_kk), UNMATCHED)
        found_k[_assign(np.abs(signed_kk.T))] = np.arange(signed_kk.shape[1])
    return Matching(found_k, np.where(found_k == UNMATCHED, 0, signed_kk[true_k, found_k]))


def _assign(weight_kk: np.ndarray) -> np.ndarray:
    """The column of every row; no fewer columns than rows."""
    best_k, margin_k = (np.asarray(values_k) for values_k in _best(weight_kk))
    owner_k = np.full(weight_kk.shape[1], UNMATCHED)
    by_margin = np.argsort(margin_k, kind="stable")
    owner_k[best_k[by_margin]] = by_margin  # the last writer stays: the row that would lose most
    column_k = best_k.copy()
    while True:
        settled = owner_k >= 0
        rows = np.setdiff1d(np.arange(len(weight_kk)), owner_k[settled])
        if 2 * len(rows) > len(weight_kk):  # another round would cost as much as the whole
            return linear_sum_assignment(weight_kk, maximize=True)[1]
        price_k = np.where(settled, margin_k[owner_k], 0)
        column_k[rows] = linear_sum_assignment(weight_kk[rows] - price_k, maximize=True)[1]
        taken = column_k[rows][settled[column_k[rows]]]
        if not len(taken):
            return column_k
        owner_k[taken] = UNMATCHED


@jax.jit
def _best(weight_kk: Array) -> tuple[jax.Array, jax.Array]:
    """Every row's best column, and by how much it beats the second best."""
    best_k = jnp.argmax(weight_kk, axis=1)
    others_kk = jnp.where(jnp.arange(weight_kk.shape[1]) == best_k[:, None], -jnp.inf, weight_kk)
    return best_k, jnp.max(weight_kk, axis=1) - jnp.max(others_kk, axis=1)
