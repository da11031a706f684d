"""The residual stream after a block, from any causal language model of transformers."""

from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from tcr_jax.extract.errors import ExtractError


class _Reached(Exception):  # noqa: N818 (no error: it ends the forward pass)
    def __init__(self, x_btd: torch.Tensor) -> None:
        self.x_btd = x_btd


def find_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The model's transformer blocks, in order. Raises `ExtractError` where it has no list of them."""
    count = model.config.get_text_config().num_hidden_layers
    for module in model.modules():  # from the outside in: the blocks come before any list inside a block
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ExtractError(f"{type(model).__name__}: no list of its {count} blocks found; give a decoder-only model")


def check_layer(model: PreTrainedModel, layer: int) -> int:
    """`layer`, or the middle one where it is 0. Raises `ExtractError` with the range there is."""
    count = len(find_blocks(model))
    if layer == 0:
        return (count + 1) // 2
    if not 1 <= layer <= count:
        raise ExtractError(f"layer={layer}: {type(model).__name__} has blocks 1 to {count}; choose one of them")
    return layer


@torch.inference_mode()
def residual_stream(model: PreTrainedModel, layer: int, token_bt: np.ndarray) -> torch.Tensor:
    """x_btd, the output of block `layer` (counted from 1), before any final norm; later blocks are not computed.

    Rows shorter than the others are padded on the right, with any token: attention is causal, so what follows a token
    does not reach it.
    """

    def stop(block: nn.Module, inputs: Any, output: Any) -> None:
        raise _Reached(output[0] if isinstance(output, tuple) else output)

    hook = find_blocks(model)[layer - 1].register_forward_hook(stop)
    try:
        model(input_ids=torch.as_tensor(token_bt, dtype=torch.long, device=model.device), use_cache=False)
    except _Reached as reached:
        return reached.x_btd
    finally:
        hook.remove()
    raise ExtractError(f"{type(model).__name__} did not run its block {layer}; choose another layer")
