"""Is another graph as sparse as this one? Every graph one change away is tried, exactly.

The data give B' = B (I - M)^{-1}. Any acyclic M explains them with B = B' (I - M), and sparsity picks the one of least
cost |B|_0 + |M|_0. Column j of B is B'_j - sum_i M_ij B'_i: a change of M's column j costs nothing elsewhere, and only
those sizes of an edge matter at which entries of B vanish.
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
    """The moves to graphs as sparse as this one or sparser, and the smallest gap of all moves."""

    moves: tuple[Move, ...]
    smallest_gap: int

    def in_words(self) -> str:
        """One sentence."""
        concepts = len({move.source for move in self.moves})
        sparser = sum(move.gap < 0 for move in self.moves)
        return (
            f"{len(self.moves)} changes of one edge of M, of {concepts} concepts, explain the data with as few "
            f"non-zeros or fewer ({sparser} with fewer); the closest other graph has {self.smallest_gap:+d}"
        )


def ambiguity(b: Sequence[Any], m: Any) -> Ambiguity:
    """Tries every acyclic M that differs from this one in one edge: one more, one less, resized, to another target
    (`exchange`), or reversed. A new edge takes its best size; the others keep theirs.

    For each edge and kind, and for each source of one more, the best move counts. Not covered: changes of several edges
    at once. To find no move does not prove that this graph is the sparsest. Numbers count as they are: an entry that
    data could not tell from zero is a non-zero.

    Args:
      b: delayed effects [target, source] of every lag: dense or sparse matrices.
      m: instantaneous effects.

    Raises:
      ValueError: M has a cycle.

    >>> ambiguity([np.diag([0.5, 0.0])], np.array([[0, 0], [0.3, 0]])).moves   # nothing in B' tells of 0 -> 1
    (Move(kind='remove', source=0, target=1, gap=-1),)
    """
    m = sp.csr_array(m, dtype=np.float64)
    strong = scipy.sparse.csgraph.connected_components(m, connection="strong")[0]
    if strong < m.shape[0] or m.diagonal().any():
        raise ValueError("M has a cycle: the graphs one edge away are defined for an acyclic M; project it first")
    moves = list(_moves(sp.vstack([sp.csr_array(b_kk, dtype=np.float64) for b_kk in b], format="csr"), m))
    smallest = min((move.gap for move in moves), default=NEVER)
    return Ambiguity(tuple(move for move in moves if move.gap <= 0), smallest)


def _moves(b: sp.csr_array, m: sp.csr_array) -> Iterator[Move]:
    """`b` has the lags one under the other."""
    k = m.shape[0]
    inverse = total_effects(m)
    reduced = sp.csr_array(b @ inverse)  # B'
    b, m, reduced_columns = b.tocsc(), m.tocsc(), reduced.tocsc()

    for source in range(k):
        column = _dense(b, source)
        children, ancestors = _support(m, source), _support(inverse, source)  # among them the source itself
        open_k = ~np.isin(np.arange(k), np.concatenate([children, ancestors]))
        added_k = _cost_of_edge(reduced, column)
        yield from _best("add", source, added_k, open_k)
        for target in map(int, children):
            without = column + m[target, source] * _dense(reduced_columns, target)
            without[np.abs(without) < SAME * np.abs(without).max()] = 0
            removed = int((without != 0).sum() - (column != 0).sum()) - 1
            resized = int(added_k[target]) - 1  # the best of all sizes, zero among them
            if removed < resized:
                yield Move("remove", source, target, removed)
            else:
                yield Move("resize", source, target, resized)
            yield from _best("exchange", source, removed + _cost_of_edge(reduced, without), open_k)
            if not np.isin(children[children != target], _support(inverse, target)).any():
                added = _cost_of_edge(reduced, _dense(b, target))[source]
                yield Move("reverse", source, target, removed + int(added))


def _best(kind: Literal["add", "exchange"], source: int, gap_k: np.ndarray, open_k: np.ndarray) -> Iterator[Move]:
    """The best of the targets that neither close a cycle nor are children already; none where there is no such."""
    if open_k.any():
        target = int(np.where(open_k, gap_k, NEVER).argmin())
        yield Move(kind, source, target, int(gap_k[target]))


def _cost_of_edge(reduced: sp.csr_array, column: np.ndarray) -> np.ndarray:
    """Non-zeros that `column` - m B'_i has beyond `column`, for the best m != 0, and one for the edge; for every i."""
    k = reduced.shape[1]
    part = reduced[np.flatnonzero(column)].tocoo()
    size = column[np.flatnonzero(column)][part.row] / part.data  # at which the entry vanishes
    order = np.lexsort((size, part.col))
    target, size = part.col[order], size[order]
    first = np.ones(len(size), bool)
    first[1:] = (np.diff(target) != 0) | (np.diff(size) > SAME * np.abs(size[1:]))
    most_k = np.zeros(k, int)
    np.maximum.at(most_k, target[first], np.bincount(np.cumsum(first) - 1)[: first.sum()])
    return 1 + np.bincount(reduced.indices, minlength=k) - np.bincount(target, minlength=k) - most_k


def _dense(matrix: sp.csc_array, index: int) -> np.ndarray:
    return matrix[:, [index]].toarray()[:, 0]


def _support(matrix: sp.csr_array | sp.csc_array, index: int) -> np.ndarray:
    """Indices stored in a row of a CSR matrix, or a column of a CSC one."""
    return matrix.indices[matrix.indptr[index] : matrix.indptr[index + 1]]
