"""Chunks: the runs of tokens that the model sees, each of one document."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Chunk(NamedTuple):
    """At most a context's length of one document's tokens. The model runs over it alone."""

    document: int  # id
    token_t: np.ndarray  # int32


def cut(
    document: int, tokens: Sequence[int], length: int, *, prefix: Sequence[int] = (), shortest: int = 1
) -> Iterator[Chunk]:
    """Cuts a document into chunks of `length` tokens, the last one shorter.

    Args:
      document: id of the document.
      tokens: ids of all of its tokens.
      length: tokens of a chunk, with its prefix.
      prefix: special tokens that open every chunk.
      shortest: a last chunk of fewer tokens, with its prefix, is left out.
    """
    step = length - len(prefix)
    for start in range(0, len(tokens), step):
        token_t = np.array([*prefix, *tokens[start : start + step]], np.int32)
        if len(token_t) >= shortest:
            yield Chunk(document, token_t)
