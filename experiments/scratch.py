"""A stream that is written to a file at its first reading, and read from there afterwards."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.types import Batches


@contextmanager
def in_file(batches: Batches, directory: str) -> Iterator[Batches]:
    """The same stream, computed once: float32 activations lie in a file that has no name, and is gone afterwards.

    Args:
      batches: pairs (x_btd, document_bt).
      directory: on a disk with room for all of them.

    Raises:
      OSError: the directory cannot be written, or, while the stream is read, the disk is full.
    """
    kept: list[tuple[tuple[int, ...], jax.Array]] = []  # shape and documents of each batch
    whole = False

    with tempfile.TemporaryFile(dir=directory) as file:

        def written() -> Iterator[tuple[jax.Array, jax.Array]]:
            nonlocal whole
            kept.clear()
            file.seek(0)
            for x_btd, document_bt in batches():
                file.write(np.asarray(x_btd, np.float32).tobytes())
                kept.append((x_btd.shape, document_bt))
                yield x_btd, document_bt
            file.flush()
            whole = True

        def read() -> Iterator[tuple[jax.Array, jax.Array]]:
            place = 0
            for shape, document_bt in kept:
                file.seek(place)
                x_n = np.fromfile(file, np.float32, int(np.prod(shape)))
                place += x_n.nbytes
                yield jnp.asarray(x_n.reshape(shape)), document_bt

        yield lambda: read() if whole else written()
