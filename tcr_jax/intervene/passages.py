"""A store's text as the model saw it: one passage a run of tokens, to be run again."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from tcr_jax.dictionary import encode
from tcr_jax.params import Dictionary
from tcr_jax.store import Store
from tcr_jax.store.split import Split, in_split
from tcr_jax.typing import DROPPED, Array


class Passage(NamedTuple):
    """Consecutive tokens of one document that the model saw by themselves, special tokens included."""

    document: int
    token_t: np.ndarray  # int32
    kept_t: np.ndarray  # bool: whether the store kept the position
    x_td: np.ndarray  # the store's activations


def read_passages(store: Store, split: Split, heldout: float, limit: int | None = None) -> Iterator[Passage]:
    """The passages of a split's documents, in order.

    Args:
      store: read context by context.
      split: `train`, `heldout` or `all`.
      heldout: share of the documents held out.
      limit: at most this many contexts are read, taken evenly from all over the split.
    """
    index_n = store.contexts(split, heldout)
    if limit is not None and len(index_n) > limit:
        index_n = index_n[np.linspace(0, len(index_n), limit, endpoint=False).astype(int)]
    for index in index_n:
        context = store[index]
        for run in np.split(np.arange(len(context.token_t)), 1 + np.flatnonzero(np.diff(context.document_t))):
            document = context.document_t[run[0]]
            if document != DROPPED and in_split(document, split, heldout):
                yield Passage(int(document), context.token_t[run], context.kept_t[run], context.activations_td[run])


def concepts(
    dictionary: Dictionary, passages: Sequence[Passage], read: Callable[[Dictionary, Array], jax.Array] = encode
) -> list[np.ndarray]:
    """z_tk of every passage, kept positions or not, from the store's activations; `read=preactivate` for y_tk."""
    longest = max(len(passage.token_t) for passage in passages)  # one shape, so compiled once
    read_td = jax.jit(read)

    def z_tk(x_td: np.ndarray) -> np.ndarray:
        padded_td = np.pad(x_td.astype(np.float32), ((0, longest - len(x_td)), (0, 0)))
        return np.asarray(read_td(dictionary, padded_td))[: len(x_td)]

    return [z_tk(passage.x_td) for passage in passages]


def taken(table: Sequence[np.ndarray], at_pn: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of every passage's array, by position or mask, one passage after the other."""
    return np.concatenate([values[at_n] for values, at_n in zip(table, at_pn, strict=True)])
