"""The codes of a whole split in memory, for yardsticks that read them many times."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.dictionary import encode
from tcr_jax.params import Dictionary
from tcr_jax.process import history
from tcr_jax.store import Store, ordered_batches
from tcr_jax.store.split import Split, is_heldout
from tcr_jax.typing import DROPPED

CONTEXTS = 32
"""Contexts encoded at a time."""


class CodeTable(NamedTuple):
    """Concepts of every position, by context: k values of 2 bytes a token."""

    z_btk: np.ndarray  # float16
    token_bt: np.ndarray
    document_bt: np.ndarray  # DROPPED where not kept, or of another split

    def scored(self, lags: int) -> np.ndarray:
        """Which positions have `lags` earlier ones in their own document, all kept: [b, t]."""
        return np.asarray(jax.vmap(history, (0, None))(jnp.asarray(self.document_bt), lags))

    def batches(self, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(z_btk, document_bt), each context once, in order; the last batch is filled with dropped positions."""
        for first in range(0, len(self.z_btk), rows):
            yield self._rows(np.arange(first, first + rows))

    def shuffled(self, rows: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(z_btk, document_bt) without end, every epoch in another order, all of one shape."""
        rng, waiting = np.random.default_rng(seed), np.array([], int)
        while True:
            while len(waiting) < rows:
                waiting = np.append(waiting, rng.permutation(len(self.z_btk)))
            yield self._rows(waiting[:rows])
            waiting = waiting[rows:]

    def _rows(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        exists = index < len(self.z_btk)
        index = np.where(exists, index, 0)
        return self.z_btk[index], np.where(exists[:, None], self.document_bt[index], np.int32(DROPPED))


def code_table(
    dictionary: Dictionary, store: Store, split: Split, heldout: float, on_batch: Callable[[], None] | None = None
) -> CodeTable:
    """Encodes a split of a store.

    Args:
      dictionary: of the store's model and layer.
      split: `train`, `heldout` or `all`.
      heldout: share of the documents held out, as in training.
      on_batch: called after each batch.
    """
    shape = (len(store.contexts(split, heldout)), store.description.source.context)
    table = CodeTable(  # filled in place: joined afterwards, the codes would be there twice
        np.empty((*shape, len(dictionary.encoder_kd)), np.float16), np.empty(shape, np.int32), np.empty(shape, np.int32)
    )
    for number, batch in enumerate(ordered_batches(store, split=split, heldout=heldout, batch=CONTEXTS)):
        rows = slice(number * CONTEXTS, (number + 1) * CONTEXTS)
        columns = (_encode(dictionary, batch.x_btd), batch.token_bt, batch.document_bt)
        for column, values in zip(table, columns, strict=True):
            column[rows] = np.asarray(values)[: len(column[rows])]
        if on_batch is not None:
            on_batch()
    return table


_encode = jax.jit(encode)


def halves(codes: CodeTable, heldout: float) -> tuple[CodeTable, CodeTable]:
    """The documents of a training table in two halves: those that a larger held-out share would hold out too come last.

    Both hold all contexts, each with the other's documents dropped.
    """
    second_bt = is_heldout(np.maximum(codes.document_bt, 0), (1 + heldout) / 2)
    parts = (np.where(chosen_bt, codes.document_bt, np.int32(DROPPED)) for chosen_bt in (~second_bt, second_bt))
    first, second = (codes._replace(document_bt=document_bt) for document_bt in parts)
    return first, second


def sizes(codes: CodeTable, rows: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Each concept's standard deviation, and its mean |z| where it fires; `rows` contexts are taken at a time."""
    tokens, sums_4k = 0, np.zeros((4, codes.z_btk.shape[-1]))
    for first in range(0, len(codes.z_btk), rows):
        kept_bt = codes.document_bt[first : first + rows] >= 0
        z_nk = codes.z_btk[first : first + rows][kept_bt].astype(np.float32)
        tokens += len(z_nk)
        sums_4k += np.stack([z_nk.sum(0), (z_nk**2).sum(0), np.abs(z_nk).sum(0), (z_nk != 0).sum(0)])
    sum_k, square_k, size_k, fires_k = sums_4k
    return np.sqrt(np.maximum(square_k / tokens - (sum_k / tokens) ** 2, 0)), size_k / np.maximum(fires_k, 1)
