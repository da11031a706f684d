"""Operations of fitting a process to the codes of a frozen dictionary: in closed form, and by gradient descent."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np

from tcr_jax.closed_form.moments import SCATTERED
from tcr_jax.process import history
from tcr_jax.store import Batch

ADAM = 12
"""Operations that Adam makes on a parameter a step, about: two moments, their corrections, a root and a division."""


class Size(NamedTuple):
    """What the operations depend on."""

    latents: int
    lags: int
    active: int  # latents of a token that are not zero
    tokens: int  # of training documents, with full history
    ends: int  # of runs of such tokens


def moment_operations(size: Size, skip_zeros: bool) -> float:
    """Of the lagged cross-moments in one pass: the products of two codes, every token and lag."""
    few = skip_zeros or size.active * SCATTERED <= size.latents
    return 2.0 * size.tokens * (size.lags + 1) * (size.active if few else size.latents) ** 2


def sparse_operations(size: Size, parents: int) -> float:
    """Of forward selection, of what the ends of runs change in each support's Gram matrix, and of the solves."""
    selection = size.latents * parents**2 * (size.lags + 1) * size.latents
    ends = size.ends * size.lags * size.latents * parents**2
    return 2.0 * (selection + ends + size.latents * parents**3 / 6)


def dense_operations(size: Size) -> float:
    """Of the Gram matrix at the ends of runs, one Cholesky factorisation, and a solve for every target."""
    past = size.lags * size.latents
    return 2.0 * (size.ends * past**2 + (past + size.latents) ** 3 / 6 + past**2 * size.latents / 2)


def gradient_operations(size: Size, tokens: float, steps: float, skip_zeros: bool) -> float:
    """Of predictions and of gradients of B, each a product of all of B with every token; and of Adam's steps."""
    sources = size.active if skip_zeros else size.latents
    return 2 * 2.0 * tokens * size.lags * size.latents * sources + ADAM * steps * size.lags * size.latents**2


def measure_size(batches: Iterable[Batch], latents: int, lags: int, active: int) -> Size:
    """Counts the tokens with full history, and the ends of their runs."""
    tokens = ends = 0
    scored = jax.jit(jax.vmap(lambda document_t: history(document_t, lags)))
    for batch in batches:
        scored_bt = np.pad(np.asarray(scored(batch.document_bt)), ((0, 0), (1, 1)))
        tokens += int(scored_bt.sum())
        ends += int((scored_bt[:, 1:] != scored_bt[:, :-1]).sum())
    return Size(latents, lags, active, tokens, ends)
