"""Writes a store from activations that somebody already has; no language model is needed.

    python -m experiments.import_activations --activations=x.npy --tokens=tokens.npy --out=DIR --model=NAME --layer=8

Files are .npy, or .safetensors with the tensors `activations`, `tokens`, `documents`, `kept` (several may share one
file). A killed import continues when it is run again with the same flags.
"""

import json
from pathlib import Path

import numpy as np
from absl import flags

from experiments import launch
from tcr_jax.store import Source, StoreError, import_arrays, open_array
from tcr_jax.store.description import DTYPES

_ACTIVATIONS = flags.DEFINE_string("activations", None, "file of [sequences, tokens, d] or [tokens, d]", required=True)
_TOKENS = flags.DEFINE_string("tokens", None, "file of token ids, one a position", required=True)
_OUT = flags.DEFINE_string("out", None, "directory of the store, made if missing", required=True)
_MODEL = flags.DEFINE_string("model", None, "language model that the activations are of", required=True)
_LAYER = flags.DEFINE_integer("layer", None, "block after which they were read, counted from 1", required=True)
_REVISION = flags.DEFINE_string("revision", "", "revision of the model")
_HOOK = flags.DEFINE_string("hook", "residual stream after the block", "where they were read, in words")
_DOCUMENTS = flags.DEFINE_string("documents", None, "file of document ids, -1 at padding; default: one a sequence")
_KEPT = flags.DEFINE_string("kept", None, "file of a mask of the positions to use; default: all")
_CONTEXT = flags.DEFINE_integer("context", 0, "positions of a context; 0: a sequence, or 128 without sequences", 0)
_DTYPE = flags.DEFINE_enum("dtype", None, list(DTYPES), "type to store; default: the file's own, float32 for float64")
_SKIP_FIRST = flags.DEFINE_integer("skip_first", 4, "positions dropped at the start of a document in every context", 0)
_OUTLIER_NORM = flags.DEFINE_float("outlier_norm", 3.0, "drop norms over this multiple of the median; inf: none", 1)
_PIECES = flags.DEFINE_string("pieces", None, "JSON file: list of the text of every token id; default: <17> for 17")
_TOKENIZER = flags.DEFINE_string("tokenizer", None, "take the texts from this Hugging Face tokenizer, a name or a path")
flags.mark_flags_as_mutual_exclusive(["pieces", "tokenizer"])


def read_pieces() -> list[str] | None:
    """Text of every token id, from the flags. Raises `StoreError` naming a file or tokenizer that gives none."""
    if _TOKENIZER.value:
        return tokenizer_pieces(_TOKENIZER.value)
    if not _PIECES.value:
        return None
    try:
        pieces = json.loads(Path(_PIECES.value).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{_PIECES.value}: cannot be read as JSON ({error}); write a list of texts there") from error
    if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
        raise StoreError(f"{_PIECES.value}: not a JSON list of texts, one a token id")
    return pieces


def tokenizer_pieces(name: str) -> list[str]:
    with launch.extra("extract"):
        from tcr_jax.extract.language_model import load_tokenizer
        from tcr_jax.extract.pieces import printable_pieces
    return printable_pieces(load_tokenizer(name))


def main() -> None:
    activations = open_array(_ACTIVATIONS.value, "activations")
    source = Source(
        model=_MODEL.value,
        revision=_REVISION.value,
        layer=_LAYER.value,
        hook=_HOOK.value,
        width=activations.shape[-1],
        context=_CONTEXT.value or (activations.shape[1] if activations.ndim == 3 else 128),
        dtype=_DTYPE.value or (activations.dtype.name if activations.dtype.name in DTYPES else "float32"),
        special_tokens="as imported",
    )

    def optional(path: str | None, name: str) -> np.ndarray | None:
        return open_array(path, name) if path else None

    description = import_arrays(
        _OUT.value,
        source,
        activations,
        open_array(_TOKENS.value, "tokens"),
        documents=optional(_DOCUMENTS.value, "documents"),
        kept=optional(_KEPT.value, "kept"),
        pieces=read_pieces(),
        skip_first=_SKIP_FIRST.value,
        outlier_norm=_OUTLIER_NORM.value,
        progress=lambda done, shards: print(f"shard {done} of {shards}", flush=True),
    )
    print(f"{_OUT.value}: complete, {description}")
    print(f"next: python -m experiments.train --store={_OUT.value} --workdir=DIR")


if __name__ == "__main__":
    launch.run(main)
