"""Models in GGUF files, dequantised."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint


def load_gguf(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model in a GGUF file, its weights dequantised to `dtype`.

    Not `from_pretrained(gguf_file=)`: that asks for one more package, and may keep weights packed.

    Raises:
      ValueError, NotImplementedError: transformers does not know the architecture, or the file is damaged.
    """
    config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config)
    names = _names(skeleton, dict(skeleton.named_children()))
    names.config = config
    weights = load_gguf_checkpoint(path, return_tensors=True, model_to_load=names, torch_dtype=dtype)["tensors"]
    return type(skeleton).from_pretrained(None, config=config, state_dict=weights, dtype=dtype)


def _names(module: nn.Module, children: dict[str, nn.Module]) -> Any:
    """A module with nothing but its names, one level deep: transformers rebuilds its table of names a level down."""
    shallow = [(name, _names(child, {})) for name, child in children.items()]
    return SimpleNamespace(state_dict=module.state_dict, named_children=lambda: shallow)
