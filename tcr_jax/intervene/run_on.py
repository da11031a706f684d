"""Edits of one token, many at once, and the few tokens after it: what lies before is computed once for all of them."""

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from tcr_jax.intervene.edited_run import Edit, edited_run
from tcr_jax.intervene.passages import Passage
from tcr_jax.intervene.sites import Site


class Remembered(NamedTuple):
    """A text that the model has read, to be edited after one block and read again after another."""

    token_t: np.ndarray
    edited_layer: int
    layer: int  # the last block that was run
    x_td: torch.Tensor  # residual stream after block `edited_layer`
    cache: DynamicCache  # keys and values of every token, by block


@torch.no_grad()
def remember(model: PreTrainedModel, token_t: np.ndarray, *, edited_layer: int, layer: int) -> Remembered:
    """Runs blocks 1 to `layer` over a text and keeps what every edit of it has in common."""
    cache = DynamicCache()
    done = edited_run(model, token_t[None], {}, read=(edited_layer, layer), logits=False, past=cache)
    return Remembered(token_t, edited_layer, layer, done.x_btd[edited_layer][0], cache)


def remember_sites(
    model: PreTrainedModel, passages: Sequence[Passage], sites: Sequence[Site], *, edited_layer: int, layer: int
) -> Iterator[tuple[Site, Remembered]]:
    """Every site with its passage, which is read once for all of its sites."""
    number = -1
    for site in sorted(sites, key=lambda site: site.passage):
        if site.passage != number:
            number = site.passage
            text = remember(model, passages[number].token_t, edited_layer=edited_layer, layer=layer)
        yield site, text


def run_on(
    model: PreTrainedModel,
    text: Remembered,
    *,
    start: int,
    horizon: int,
    change_nd: torch.Tensor,
) -> torch.Tensor:
    """The text from token `start` on, its residual stream after block `text.edited_layer` changed at that token alone.

    Equals a whole run with the same edit, at about (horizon + 1) / length of its cost; blocks 2 to `text.edited_layer`
    are not run again. Gradients flow to `change_nd`.

    Args:
      model: the one that the text was remembered with.
      text: from `remember`.
      start: position s of the edit.
      horizon: tokens after s that are computed.
      change_nd: one change of x_s a run, in raw units.

    Returns:
      x_nhd after block `text.layer`; index 0 of `h` is the edited token itself.
    """
    past = copy.deepcopy(text.cache)
    past.crop(start - len(text.token_t))
    for block in past.layers[text.edited_layer :]:  # up to the edit all runs are one
        cast(DynamicLayer, block).batch_repeat_interleave(len(change_nd))

    span = slice(start, start + horizon + 1)
    x_1hd = text.x_td[None, span]
    first_n1d = x_1hd[:, :1] + change_nd[:, None].to(x_1hd.dtype)
    changed_nhd = torch.cat([first_n1d, x_1hd[:, 1:].expand(len(change_nd), -1, -1)], dim=1)
    edits: dict[int, Edit] = {text.edited_layer: lambda _: changed_nhd}
    token_1h, read = text.token_t[None, span], (text.layer,)
    done = edited_run(model, token_1h, edits, read=read, logits=False, past=past, idle=text.edited_layer)
    return done.x_btd[text.layer]
