"""What an estimator is given, and whom it tells how far it is."""

from collections.abc import Callable, Iterator

import jax

Batches = Callable[[], Iterator[tuple[jax.Array, jax.Array]]]
"""Activations as a stream that can be read again: each call yields the same pairs (x_btd, document_bt), of one shape.

`document_bt` is as everywhere (see `tcr_jax.typing`): lags reach only where it is the same, negative is dropped."""

Say = Callable[[str], None]
"""Is called with a line of progress."""
