"""Where concepts fire most strongly, and where edges act: one pass over contexts, a few numbers kept of each."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.dictionary import encode
from tcr_jax.params import Dictionary
from tcr_jax.typing import DROPPED, Array

POOL = 32  # peaks kept: enough to choose unlike ones from, and to name a concept by
TAIL = 6  # tokens by which two peaks are told apart, the last is the peak itself


class Peak(NamedTuple):
    """A token at which a concept fires, or at which an edge's target fires and its source did before."""

    record: int  # context of the store
    position: int
    document: int
    positive: bool  # sign of z there (of the target's, for an edge)
    tail: tuple[int, ...]  # token ids up to the peak

    @property
    def token(self) -> int:
        return self.tail[-1]


class Found(NamedTuple):
    """The strongest firing in each context: |z| of a concept, or |z_source(t-l)| where the target of an edge fires."""

    score_bc: jax.Array
    position_bc: jax.Array
    positive_bc: jax.Array


@jax.jit
def find(
    dictionary: Dictionary,
    x_btd: Array,
    document_bt: Array,
    concept_c: Array,
    source_e: Array,
    target_e: Array,
    lag_e: Array,
) -> tuple[Found, Found, jax.Array]:
    """The strongest firings of concepts and of edges, and [b, t, e]: does the target fire, and did the source?"""
    z_btk = jnp.where((document_bt != DROPPED)[..., None], encode(dictionary, x_btd), 0)
    earlier_te = jnp.arange(x_btd.shape[1])[:, None] - lag_e
    same_bte = (earlier_te >= 0) & (document_bt[:, earlier_te] == document_bt[..., None])
    source_bte = jnp.where(same_bte, z_btk[:, earlier_te, source_e], 0)
    edge_bte = jnp.where(z_btk[..., target_e] != 0, jnp.abs(source_bte), 0)

    def strongest(score_btc: jax.Array, z_btc: jax.Array) -> Found:
        position_bc = score_btc.argmax(1)
        z_bc = jnp.take_along_axis(z_btc, position_bc[:, None], axis=1)[:, 0]
        return Found(score_btc.max(1), position_bc, z_bc > 0)

    concept_btc = z_btk[..., concept_c]
    return strongest(jnp.abs(concept_btc), concept_btc), strongest(edge_bte, z_btk[..., target_e]), edge_bte > 0


class Peaks:
    """The `POOL` best peaks of each of several columns, at most one a context."""

    def __init__(self, columns: int) -> None:
        self.column_c = np.arange(columns)
        self.score_pc = np.zeros((0, columns), np.float32)
        self.kept: list[np.ndarray] = []  # [p, c] or [p, c, tail], in the order of Peak's fields

    def add(self, record_b: np.ndarray, token_bt: np.ndarray, document_bt: np.ndarray, found: Found) -> None:
        position_bc = np.asarray(found.position_bc)
        row_b1 = np.arange(len(record_b))[:, None]
        tail_bcw = token_bt[row_b1[..., None], np.maximum(position_bc[..., None] + np.arange(1 - TAIL, 1), 0)]
        record_bc = np.broadcast_to(record_b[:, None], position_bc.shape)
        new = [record_bc, position_bc, document_bt[row_b1, position_bc], np.asarray(found.positive_bc), tail_bcw]
        score_pc = np.concatenate([self.score_pc, found.score_bc])
        best_pc = np.argsort(-score_pc, axis=0, kind="stable")[:POOL]
        both = [np.concatenate(pair) for pair in zip(self.kept, new, strict=True)] if self.kept else new
        self.score_pc = score_pc[best_pc, self.column_c]
        self.kept = [values[best_pc, self.column_c] for values in both]

    def of(self, column: int) -> list[Peak]:
        """The peaks of one column, strongest first."""
        rows = np.flatnonzero(self.score_pc[:, column] > 0)
        fields = [values[rows, column].tolist() for values in self.kept]
        return [
            Peak(record, position, document, positive, tuple(tail))
            for record, position, document, positive, tail in zip(*fields, strict=True)
        ]


def unlike(peaks: Sequence[Peak], count: int) -> list[Peak]:
    """The first `count` in order, never the same text twice, and each from another document as far as they reach."""
    texts = {peak.tail: peak for peak in reversed(peaks)}
    different = [peak for peak in peaks if texts[peak.tail] is peak]
    documents = {peak.document: peak for peak in reversed(different)}
    first = [peak for peak in different if documents[peak.document] is peak]
    chosen = (first + [peak for peak in different if documents[peak.document] is not peak])[:count]
    return [peak for peak in different if peak in chosen]


class Bigrams:
    """Counts of (source token, target token) over the joint firings of each edge."""

    def __init__(self, edges: int) -> None:
        self.counts: list[Counter[tuple[int, int]]] = [Counter() for _ in range(edges)]

    def add(self, token_bt: np.ndarray, both_bte: np.ndarray, lag_e: np.ndarray) -> None:
        b, t, e = np.nonzero(both_bte)
        found, count = np.unique(np.stack([e, token_bt[b, t - lag_e[e]], token_bt[b, t]]), axis=1, return_counts=True)
        for (edge, source, target), number in zip(found.T.tolist(), count.tolist(), strict=True):
            self.counts[edge][source, target] += number

    def of(self, edge: int) -> tuple[int, tuple[int, int] | None, float]:
        """Joint firings of an edge, the most frequent token pair, and its share of them (nan without firings)."""
        firings = self.counts[edge].total()
        if not firings:
            return 0, None, float("nan")
        pair, number = self.counts[edge].most_common(1)[0]
        return firings, pair, number / firings
