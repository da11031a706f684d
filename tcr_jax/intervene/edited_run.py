"""A language model run with edits of its residual stream."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.residual_stream import find_blocks

Edit = Callable[[torch.Tensor], torch.Tensor]
"""The residual stream after a block, x_btd -> what the following blocks see instead."""


class EditedRun(NamedTuple):
    """What an edited model computed."""

    x_btd: dict[int, torch.Tensor]  # after each block that was read, in its edited form
    logits_btv: torch.Tensor | None


class _Reached(Exception):  # noqa: N818 (no error: it ends the forward pass)
    pass


def edited_run(
    model: PreTrainedModel,
    token_bt: np.ndarray,
    edits: Mapping[int, Edit],
    *,
    read: Collection[int] = (),
    logits: bool = True,
    past: DynamicCache | None = None,
    idle: int = 0,
) -> EditedRun:
    """Runs the model, the output of block `layer` (counted from 1) replaced by `edits[layer](output)`.

    Gradients flow as torch has them: wrap the call in `torch.no_grad` where none are wanted.

    Args:
      model: any causal language model of transformers.
      token_bt: rows shorter than the others are padded on the right, with any token.
      edits: by block.
      read: blocks whose output is returned.
      logits: whether the run goes on to the logits; otherwise it ends at the last block that is read.
      past: keys and values of earlier tokens, which the run extends.
      idle: blocks 2 to this one do not run and extend nothing: the edit of this one is to bring in what they would have
        returned. The first runs always, as it tells in what form blocks of this model return it.

    Raises:
      ExtractError: a block does not exist, or nothing is asked for.
    """
    blocks = find_blocks(model)
    for layer in (*edits, *read):
        if not 1 <= layer <= len(blocks):
            raise ExtractError(f"layer={layer}: {type(model).__name__} has blocks 1 to {len(blocks)}; choose one")
    if not logits and not read:
        raise ExtractError("neither logits nor a block to read: name one of them")
    x_btd: dict[int, torch.Tensor] = {}
    last = None if logits else max(read)

    def at(layer: int) -> Callable[[nn.Module, Any, Any], Any]:
        def after(block: nn.Module, inputs: Any, output: Any) -> Any:
            stream = output[0] if isinstance(output, tuple) else output
            stream = edits[layer](stream) if layer in edits else stream
            if layer in read:
                x_btd[layer] = stream
            if layer == last:
                raise _Reached
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        return after

    handles = [blocks[layer - 1].register_forward_hook(at(layer)) for layer in {*edits, *read}]
    ids_bt = torch.as_tensor(token_bt, dtype=torch.long, device=model.device)
    try:
        with _passing_on(blocks[0], list(blocks[1:idle])):
            output = model(input_ids=ids_bt, use_cache=past is not None, **_as_argument(model, past))
    except _Reached:
        return EditedRun(x_btd, None)
    finally:
        for handle in handles:
            handle.remove()
    return EditedRun(x_btd, output.logits)


@contextmanager
def _passing_on(first: nn.Module, blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Has blocks return what they are given, in the form in which the first returned its own."""
    in_tuple = False

    def look(block: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal in_tuple
        in_tuple = isinstance(output, tuple)

    def pass_on(hidden_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        return (hidden_states,) if in_tuple else hidden_states

    handle = first.register_forward_hook(look)
    own = [vars(block).get("forward") for block in blocks]
    for block in blocks:
        block.forward = pass_on
    try:
        yield
    finally:
        handle.remove()
        for block, forward in zip(blocks, own, strict=True):
            if forward is None:
                del block.forward
            else:
                block.forward = forward


def _as_argument(model: PreTrainedModel, past: DynamicCache | None) -> dict[str, DynamicCache]:
    """The cache under the name that this model gives it: `past_key_values` until transformers 5.24, then `cache`."""
    if past is None:
        return {}
    return {"cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values": past}
