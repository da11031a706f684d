"""Laws of chunks, packing and plans."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from tcr_jax.extract.chunks import Chunk, cut
from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.packing import pack
from tcr_jax.extract.plan import Plan, make_plan, split_evenly
from tcr_jax.extract.text import Document

T = 16


def documents(seed: int = 0, count: int = 50) -> list[Document]:
    """Texts of 1 to 60 characters, a token each."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 61, count)
    return [Document(f"document {n}", "".join(rng.choice(list("abcdef"), t))) for n, t in enumerate(lengths)]


def plan_of(texts: Iterable[Document], **settings: Any) -> Plan:
    return make_plan(texts, lambda text: [ord(letter) for letter in text], context=T, **settings)


def test_chunks_give_the_document_back() -> None:
    """Chunks in order are the document, none longer than asked for, all but the last one full."""
    tokens = list(range(40))
    chunks = list(cut(3, tokens, T))
    assert np.concatenate([chunk.token_t for chunk in chunks]).tolist() == tokens
    assert [len(chunk.token_t) for chunk in chunks] == [16, 16, 8]
    assert {chunk.document for chunk in chunks} == {3}


def test_prefix_opens_every_chunk() -> None:
    """The prefix counts towards the length, and what follows it is still the whole document."""
    chunks = list(cut(0, list(range(40)), T, prefix=[99]))
    assert all(chunk.token_t[0] == 99 and len(chunk.token_t) <= T for chunk in chunks)
    assert np.concatenate([chunk.token_t[1:] for chunk in chunks]).tolist() == list(range(40))


def test_short_last_chunks_are_left_out() -> None:
    """A chunk under the shortest length is left out."""
    assert [len(chunk.token_t) for chunk in cut(0, range(20), T, shortest=5)] == [16]
    assert [len(chunk.token_t) for chunk in cut(0, range(21), T, shortest=5)] == [16, 5]


def test_packing_places_every_chunk_once_and_within_a_context() -> None:
    """No context overflows, none is empty, every chunk is in one of them, and short ones share."""
    chunks = [chunk for n, document in enumerate(documents()) for chunk in cut(n, list(document.text.encode()), T)]
    contexts = list(pack(chunks, T))
    assert all(0 < sum(len(chunk.token_t) for chunk in context) <= T for context in contexts)
    placed = Counter(id(chunk) for context in contexts for chunk in context)
    assert placed == Counter(map(id, chunks))
    assert len(contexts) < len(chunks)


def test_chunks_of_a_document_never_meet() -> None:
    """A context never holds two chunks of one document: lags would take them for neighbours."""
    for seed in range(5):
        for context in plan_of(documents(seed)).contexts:
            ids = [chunk.document for chunk in context]
            assert len(ids) == len(set(ids))


def test_full_chunks_leave_the_open_context_open() -> None:
    """A full chunk takes no room from the chunks that share a context before and after it."""
    lengths = [5, T, 6, T, 5, 1]
    contexts = pack([Chunk(n, np.zeros(t, np.int32)) for n, t in enumerate(lengths)], T)
    assert [[chunk.document for chunk in context] for context in contexts] == [[1], [3], [0, 2, 4], [5]]


def test_too_long_a_chunk_is_refused() -> None:
    """Packing refuses a chunk longer than a context, where it would lose its end."""
    with pytest.raises(ValueError, match="17 tokens does not fit a context of 16"):
        list(pack([Chunk(0, np.zeros(17, np.int32))], T))


def test_digest_tells_plans_apart() -> None:
    """Plans are equal where text and settings are, and their digest changes with either, or with where texts end."""
    plan = plan_of(documents())
    assert plan.digest == plan_of(documents()).digest
    joined = [Document("joined", "".join(document.text for document in documents()))]
    others = [plan_of(documents(1)), plan_of(joined), plan_of(documents(), prefix=[1])]
    assert plan.digest not in {other.digest for other in others}


def test_max_tokens_bounds_the_plan_and_the_reading() -> None:
    """The plan is a beginning of the whole one, within the limit, and reads no document that it does not need."""
    whole, read = plan_of(documents()), []

    def watched() -> Iterator[Document]:
        for document in documents():
            read.append(document)
            yield document

    plan = plan_of(watched(), max_tokens=200)
    assert 200 - T < plan.tokens <= 200 < whole.tokens
    assert plan.tokens == sum(len(chunk.token_t) for context in plan.contexts for chunk in context)
    assert [document.name for document in read] == plan.names == whole.names[: len(plan.names)]
    assert len(read) < 50


def test_less_than_a_context_is_refused() -> None:
    """Text that does not fill one context is an error with both numbers."""
    with pytest.raises(ExtractError, match="3 tokens, fewer than one context of 16"):
        plan_of([Document("short", "abc")])


def test_shards_are_even_and_cover_the_plan() -> None:
    """Shards hold all contexts in order, at most the limit each, and differ by one at most."""
    plan = plan_of(documents())
    for largest in (1, 3, 7, 1000):
        shards = split_evenly(plan, largest)
        sizes = [len(shard) for shard in shards]
        assert [context for shard in shards for context in shard] == plan.contexts
        assert max(sizes) <= largest and max(sizes) - min(sizes) <= 1
        assert len(shards) == -(-len(plan.contexts) // largest)
