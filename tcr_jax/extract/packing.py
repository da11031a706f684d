"""Packing: which chunks share a context."""

from collections.abc import Iterable, Iterator

from tcr_jax.extract.chunks import Chunk

Packed = tuple[Chunk, ...]
"""The chunks of one context, in order of position; what they leave free is padding."""


def pack(chunks: Iterable[Chunk], length: int) -> Iterator[Packed]:
    """Next-fit: a chunk goes into the open context, or opens a new one where it does not fit.

    A full chunk has a context of its own and leaves the open one open. As a document has at most one chunk that is
    not full, no two chunks of a document meet: their positions would look adjacent, and are not.

    Raises:
      ValueError: a chunk is longer than a context.
    """
    shared: list[Chunk] = []
    room = length
    for chunk in chunks:
        size = len(chunk.token_t)
        if size > length:
            raise ValueError(f"a chunk of {size} tokens does not fit a context of {length}")
        if size == length:
            yield (chunk,)
            continue
        if size > room:
            yield tuple(shared)
            shared, room = [], length
        shared.append(chunk)
        room -= size
    if shared:
        yield tuple(shared)
