"""The text around the peaks of reported concepts and edges."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import jax
import numpy as np

from tcr_jax.dictionary import encode
from tcr_jax.params import Dictionary
from tcr_jax.relations.peaks import Bigrams, Peak, Peaks, find, unlike
from tcr_jax.store import Store
from tcr_jax.typing import DROPPED


class Ends(Protocol):
    """What any edge has: two concepts, so many tokens apart."""

    @property
    def source(self) -> int: ...
    @property
    def target(self) -> int: ...
    @property
    def lag(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Snippet:
    """Text around a peak. `values` is the concept's activation at each token; for an edge, the target's."""

    document: int
    tokens: tuple[int, ...]
    values: tuple[float, ...]
    focus: int  # index of the peak
    source: int | None  # index of the source's token, for an edge
    source_value: float


@dataclasses.dataclass(frozen=True)
class Concept:
    """One concept and the contexts in which it fires most strongly, over all documents read.

    The sign of a concept is a convention. `sign` turns it so that most of its strongest firings are positive.
    """

    index: int
    sign: int  # +1 or -1
    top_tokens: tuple[tuple[int, bool], ...]  # the most frequent tokens at its peaks, and whether sign * z > 0 there
    snippets: tuple[Snippet, ...]


@dataclasses.dataclass(frozen=True)
class Example:
    """Where one edge acts, over all documents read.

    `pair` is the most frequent (source token, target token) of its joint firings and `pair_share` its share of them:
    near 1, the edge is no more than one bigram.
    """

    snippets: tuple[Snippet, ...]
    firings: int
    pair: tuple[int, int] | None
    pair_share: float


class Contexts(NamedTuple):
    """Every reported concept by index, and every edge in the order given."""

    concepts: dict[int, Concept]
    examples: list[Example]

    def sign(self, edge: Ends) -> int:
        """What turns an edge's coefficient into that between the two concepts as they are turned."""
        return self.concepts[edge.source].sign * self.concepts[edge.target].sign


def collect(
    dictionary: Dictionary,
    edges: Sequence[Ends],
    store: Store,
    records: Iterable[int],
    *,
    shown: int = 8,
    examples: int = 3,
    before: int = 16,
    after: int = 8,
    batch: int = 16,
    on_batch: Callable[[], None] | None = None,
) -> Contexts:
    """The strongest contexts of the concepts that `edges` connect, and of the edges.

    Args:
      dictionary: reads the raw activations.
      edges: the reported relations.
      store: where the contexts are read.
      records: indices of the contexts to read, of both splits.
      shown: contexts a concept, ranked by |z|, other text and other documents preferred.
      examples: contexts an edge, ranked by |contribution|, likewise.
      before: tokens shown before a peak.
      after: tokens shown after it.
      batch: contexts encoded at a time.
      on_batch: called after each batch.
    """
    if not edges:
        return Contexts({}, [])
    concept_c = np.unique([(edge.source, edge.target) for edge in edges])
    source_e, target_e, lag_e = np.array([(edge.source, edge.target, edge.lag) for edge in edges]).T
    concept_peaks, edge_peaks, bigrams = Peaks(len(concept_c)), Peaks(len(edges)), Bigrams(len(edges))
    for chunk in _chunks(store, records, batch):
        of_concepts, of_edges, both_bte = find(
            dictionary, chunk.x_btd, chunk.document_bt, concept_c, source_e, target_e, lag_e
        )
        concept_peaks.add(chunk.record_b, chunk.token_bt, chunk.document_bt, of_concepts)
        edge_peaks.add(chunk.record_b, chunk.token_bt, chunk.document_bt, of_edges)
        bigrams.add(chunk.token_bt, np.asarray(both_bte), lag_e)
        if on_batch is not None:
            on_batch()

    cuts_c = [
        [_Cut(peak, concept) for peak in unlike(concept_peaks.of(column), shown)]
        for column, concept in enumerate(concept_c.tolist())
    ]
    cuts_e = [
        [_Cut(peak, edge.target, edge.source, edge.lag) for peak in unlike(edge_peaks.of(column), examples)]
        for column, edge in enumerate(edges)
    ]
    text = _read(dictionary, store, [cut for cuts in cuts_c + cuts_e for cut in cuts], before, after)
    concepts = {}
    for column, concept in enumerate(concept_c.tolist()):
        peaks = concept_peaks.of(column)
        sign = 1 if 2 * sum(peak.positive for peak in peaks) >= len(peaks) else -1
        tokens = Counter((peak.token, peak.positive == (sign > 0)) for peak in peaks)
        top = tuple(token for token, _ in tokens.most_common(3))
        concepts[concept] = Concept(concept, sign, top, tuple(text[cut] for cut in cuts_c[column]))
    of_edge = [Example(tuple(text[cut] for cut in cuts), *bigrams.of(column)) for column, cuts in enumerate(cuts_e)]
    return Contexts(concepts, of_edge)


class _Chunk(NamedTuple):
    record_b: np.ndarray
    x_btd: np.ndarray
    token_bt: np.ndarray
    document_bt: np.ndarray


def _chunks(store: Store, records: Iterable[int], batch: int) -> Iterator[_Chunk]:
    """Contexts stacked; the last chunk is filled with dropped ones so that shapes never change."""
    records = [int(record) for record in records]
    for start in range(0, len(records), batch):
        chosen = records[start : start + batch]
        filled = chosen + chosen[-1:] * (batch - len(chosen))
        contexts = [store[record] for record in filled]
        document_bt = np.stack([np.where(c.kept_t, c.document_t, DROPPED) for c in contexts])
        document_bt[len(chosen) :] = DROPPED
        x_btd = np.stack([c.activations_td for c in contexts])
        yield _Chunk(np.array(filled), x_btd, np.stack([c.token_t for c in contexts]), document_bt)


_encode = jax.jit(encode)


class _Cut(NamedTuple):
    """A stretch of text to be read: around a peak of a concept, or of an edge with its source."""

    peak: Peak
    concept: int
    source: int | None = None
    lag: int = 0


def _read(dictionary: Dictionary, store: Store, cuts: Sequence[_Cut], before: int, after: int) -> dict[_Cut, Snippet]:
    """Cuts snippets out of the store; each context is read and encoded once, and then forgotten."""
    in_order = sorted(set(cuts), key=lambda cut: cut.peak.record)
    text = {}
    for record, of_record in groupby(in_order, key=lambda cut: cut.peak.record):
        context = store[record]
        z_tk = np.asarray(_encode(dictionary, context.activations_td))
        for cut in of_record:
            position = cut.peak.position
            inside_t = np.flatnonzero(context.document_t == cut.peak.document)
            start = max(position - max(before, cut.lag + 4), inside_t[0])
            stop = min(position + after, inside_t[-1]) + 1
            values_t = np.where(context.kept_t[start:stop], z_tk[start:stop, cut.concept], 0)
            text[cut] = Snippet(
                document=cut.peak.document,
                tokens=tuple(context.token_t[start:stop].tolist()),
                values=tuple(values_t.tolist()),
                focus=int(position - start),
                source=None if cut.source is None else int(position - cut.lag - start),
                source_value=0.0 if cut.source is None else float(z_tk[position - cut.lag, cut.source]),
            )
    return text
