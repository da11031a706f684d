"""Is another graph as sparse as this one? Every graph one change away is tried, exactly.

The data give B' = B (I - M)^{-1}. Any acyclic M explains them with B = B' (I - M), and sparsity picks the one of least
cost |B|_0 + |M|_0. Column j of B is B'_j - sum_i M_ij B'_i: a change of M's column j costs nothing elsewhere, and only
those sizes of an edge matter at which entries of B vanish. Entries of an estimate vanish where they come within its
sampling error of zero, and so over an interval of sizes: what counts is where most intervals meet.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
import scipy.sparse.csgraph

from tcr_jax.acyclicity import total_effects

SAME = 1e-7  # relative difference up to which two sizes are one
NEVER = np.iinfo(np.int32).max


class Move(NamedTuple):
    """A change of one edge of M, and the non-zeros of B and M that it adds: where not positive, M is ambiguous."""

    kind: Literal["add", "remove", "resize", "exchange", "reverse"]
    source: int
    target: int  # of the edge as it was, or of the one added
    gap: int


class Ambiguity(NamedTuple):
    """The moves to graphs as sparse as this one or sparser, and the smallest gap of all moves, if any can be made."""

    moves: tuple[Move, ...]
    smallest_gap: int | None

    def in_words(self) -> str:
        """One sentence."""
        if self.smallest_gap is None:
            return "no other graph is one edge of M away"
        concepts = len({move.source for move in self.moves})
        sparser = sum(move.gap < 0 for move in self.moves)
        return (
            f"{len(self.moves)} changes of one edge of M, of {concepts} concepts, explain the data with as few "
            f"non-zeros or fewer ({sparser} with fewer); the closest other graph has {self.smallest_gap:+d}"
        )


def ambiguity(b: Sequence[Any], m: Any, tolerance: Sequence[np.ndarray] | None = None) -> Ambiguity:
    """Tries every acyclic M that differs from this one in one edge: one more, one less, resized, to another target
    (`exchange`), or reversed. A new edge takes its best size; the others keep theirs.

    For each edge and kind, and for each source of one more, the best move counts. Not covered: changes of several edges
    at once. To find no move does not prove that this graph is the sparsest.

    Args:
      b: delayed effects [target, source] of every lag: dense or sparse matrices.
      m: instantaneous effects.
      tolerance: for each lag, the size [target, source] up to which an effect cannot be told from zero, such as some
        standard errors; by default numbers count as they are, as in a known truth.

    Raises:
      ValueError: M has a cycle.

    >>> ambiguity([np.diag([0.5, 0.0])], np.array([[0, 0], [0.3, 0]])).moves   # nothing in B' tells of 0 -> 1
    (Move(kind='remove', source=0, target=1, gap=-1),)
    """
    m = sp.csr_array(m, dtype=np.float64)
    strong = scipy.sparse.csgraph.connected_components(m, connection="strong")[0]
    if strong < m.shape[0] or m.diagonal().any():
        raise ValueError("M has a cycle: the graphs one edge away are defined for an acyclic M; project it first")
    stacked = sp.vstack([sp.csr_array(b_kk, dtype=np.float64) for b_kk in b], format="csr")
    moves = list(_moves(stacked, m, None if tolerance is None else np.concatenate(list(tolerance))))
    smallest = min((move.gap for move in moves), default=None)
    return Ambiguity(tuple(move for move in moves if move.gap <= 0), smallest)


def _moves(b: sp.csr_array, m: sp.csr_array, tolerance_rk: np.ndarray | None) -> Iterator[Move]:
    """`b` has the lags one under the other (rows r), and so has the tolerance."""
    k = m.shape[0]
    inverse = total_effects(m)
    above = total_effects(abs(m))  # what leads to what, also where paths cancel
    reduced = sp.csr_array(b @ inverse)  # B'
    b, m, reduced_columns = b.tocsc(), m.tocsc(), reduced.tocsc()

    def column_of(source: int) -> tuple[np.ndarray, np.ndarray]:
        """Of B, with its tolerances; what lies within them is zero."""
        column = _dense(b, source)
        none = np.abs(column).max() if tolerance_rk is None else tolerance_rk[:, source]
        none = np.broadcast_to(SAME * none if tolerance_rk is None else none, column.shape)
        return np.where(np.abs(column) > none, column, 0), none

    def cost_of_edge(column: np.ndarray, none: np.ndarray) -> np.ndarray:
        return _cost_of_edge(reduced, column, none, exact=tolerance_rk is None)

    for source in range(k):
        column, none = column_of(source)
        children, ancestors = _support(m, source), _support(above, source)  # among them the source itself
        open_k = ~np.isin(np.arange(k), np.concatenate([children, ancestors]))
        added_k = cost_of_edge(column, none)
        yield from _best("add", source, added_k, open_k)
        for target in map(int, children):
            without = column + m[target, source] * _dense(reduced_columns, target)
            if tolerance_rk is None:
                none = np.broadcast_to(SAME * np.abs(without).max(), without.shape)
            without[np.abs(without) <= none] = 0
            removed = int((without != 0).sum() - (column != 0).sum()) - 1
            resized = int(added_k[target]) - 1  # the best of all sizes, zero among them
            if removed < resized:
                yield Move("remove", source, target, removed)
            else:
                yield Move("resize", source, target, resized)
            yield from _best("exchange", source, removed + cost_of_edge(without, none), open_k)
            if not np.isin(children[children != target], _support(above, target)).any():
                added = cost_of_edge(*column_of(target))[source]
                yield Move("reverse", source, target, removed + int(added))


def _best(kind: Literal["add", "exchange"], source: int, gap_k: np.ndarray, open_k: np.ndarray) -> Iterator[Move]:
    """The best of the targets that neither close a cycle nor are children already; none where there is no such."""
    if open_k.any():
        target = int(np.where(open_k, gap_k, NEVER).argmin())
        yield Move(kind, source, target, int(gap_k[target]))


def _cost_of_edge(reduced: sp.csr_array, column: np.ndarray, none: np.ndarray, exact: bool) -> np.ndarray:
    """Non-zeros that `column` - m B'_i has beyond `column`, and one for the edge; for every i.

    m is the best that brings some entry of the column to zero.

    An entry is zero up to `none`, or, where numbers are exact, at one m.
    """
    k = reduced.shape[1]
    rows = np.flatnonzero(column)
    met = reduced[rows].tocoo()
    row, target, part = rows[met.row], met.col, met.data
    taken_k = np.bincount(target, minlength=k)
    if not exact:  # entries that are brought in may stay within their tolerance, too
        every = reduced.tocoo()
        brought = (column[every.row] == 0) & (taken_k[every.col] > 0)
        row, target, part = (
            np.concatenate([of, more[brought]])
            for of, more in ((row, every.row), (target, every.col), (part, every.data))
        )
    size = column[row] / part  # at which the entry vanishes
    reach = SAME / 2 * np.abs(size) if exact else none[row] / np.abs(part)
    most_k = _most_at_once(target, size - reach, size + reach, column[row] != 0, k)
    return 1 + np.bincount(reduced.indices, minlength=k) - taken_k - most_k


def _most_at_once(
    group_n: np.ndarray, low_n: np.ndarray, high_n: np.ndarray, needed_n: np.ndarray, groups: int
) -> np.ndarray:
    """How many closed intervals of a group have a point in common, at most, one of those needed among them."""
    opens = np.repeat([1, -1], len(group_n))
    order = np.lexsort((-opens, np.concatenate([low_n, high_n]), np.tile(group_n, 2)))
    at_once, needed = np.cumsum(opens[order]), np.cumsum((opens * np.tile(needed_n, 2))[order])  # 0 where a group ends
    most_g = np.zeros(groups, int)
    np.maximum.at(most_g, np.tile(group_n, 2)[order], np.where(needed > 0, at_once, 0))
    return most_g


def _dense(matrix: sp.csc_array, index: int) -> np.ndarray:
    return matrix[:, [index]].toarray()[:, 0]


def _support(matrix: sp.csr_array | sp.csc_array, index: int) -> np.ndarray:
    """Indices stored in a row of a CSR matrix, or a column of a CSC one."""
    return matrix.indices[matrix.indptr[index] : matrix.indptr[index + 1]]
