"""Writes a store from activations that somebody already has; no language model is needed.

    python -m experiments.import_activations --activations=x.npy --tokens=tokens.npy --out=DIR --model=NAME --layer=8

Files are .npy, or .safetensors with the tensors `activations`, `tokens`, `documents`, `kept` (several may share one
file). A killed import continues when it is run again with the same flags.
"""

import json
import math
from pathlib import Path

import numpy as np
from absl import flags

from experiments import launch
from tcr_jax.store import Source, StoreError, import_arrays, open_array
from tcr_jax.store.description import DTYPES

ACTIVATIONS = flags.DEFINE_string("activations", None, "file of [sequences, tokens, d] or [tokens, d]", required=True)
TOKENS = flags.DEFINE_string("tokens", None, "file of token ids, one a position", required=True)
OUT = flags.DEFINE_string("out", None, "directory of the store", required=True)
MODEL = flags.DEFINE_string("model", None, "language model that the activations are of", required=True)
LAYER = flags.DEFINE_integer("layer", None, "block after which they were read, counted from 1", required=True)
REVISION = flags.DEFINE_string("revision", "", "revision of the model")
HOOK = flags.DEFINE_string("hook", "residual stream after the block", "where they were read, in words")
DOCUMENTS = flags.DEFINE_string("documents", None, "file of document ids, -1 at padding; default: one a sequence")
KEPT = flags.DEFINE_string("kept", None, "file of a mask of the positions to use; default: all")
CONTEXT = flags.DEFINE_integer("context", 0, "positions of a context; 0: a sequence, or 128 without sequences", 0)
DTYPE = flags.DEFINE_enum("dtype", None, list(DTYPES), "type to store; default: the file's own, float32 for float64")
EARLY = flags.DEFINE_integer("early", 4, "positions dropped at the start of every document (attention sinks)", 0)
OUTLIER = flags.DEFINE_float("outlier", 3.0, "drop norms over this multiple of their context's median; 0: none", 0)
PIECES = flags.DEFINE_string("pieces", None, "JSON file: list of the text of every token id; default: <17> for 17")
TOKENIZER = flags.DEFINE_string("tokenizer", None, "take the texts from this Hugging Face tokenizer, a name or a path")
flags.mark_flags_as_mutual_exclusive(["pieces", "tokenizer"])


def read_pieces() -> list[str] | None:
    """Text of every token id, from the flags. Raises `StoreError` naming a file or tokenizer that gives none."""
    if TOKENIZER.value:
        return tokenizer_pieces(TOKENIZER.value)
    if not PIECES.value:
        return None
    try:
        pieces = json.loads(Path(PIECES.value).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{PIECES.value}: cannot be read as JSON ({error}); write a list of texts there") from error
    if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
        raise StoreError(f"{PIECES.value}: not a JSON list of texts, one a token id")
    return pieces


def tokenizer_pieces(name: str) -> list[str]:
    try:  # the extraction's dependencies are an extra, and nothing else here needs them
        from tcr_jax.extract.errors import ExtractError
        from tcr_jax.extract.language_model import load_tokenizer
        from tcr_jax.extract.pieces import printable_pieces
    except ModuleNotFoundError as error:
        raise StoreError(f"--tokenizer needs {error.name}: install tcr_jax[extract], or give --pieces") from error
    try:
        return printable_pieces(load_tokenizer(name))
    except ExtractError as error:
        raise StoreError(f"--tokenizer={name}: {error}") from error


def main() -> None:
    """Imports what the flags name, and says what was written. Raises `StoreError` naming the culprit and the mend."""
    activations = open_array(ACTIVATIONS.value, "activations")
    source = Source(
        model=MODEL.value,
        revision=REVISION.value,
        layer=LAYER.value,
        hook=HOOK.value,
        width=activations.shape[-1],
        context=CONTEXT.value or (activations.shape[1] if activations.ndim == 3 else 128),
        dtype=DTYPE.value or (activations.dtype.name if activations.dtype.name in DTYPES else "float32"),
        special_tokens="as imported",
    )

    def optional(path: str | None, name: str) -> np.ndarray | None:
        return open_array(path, name) if path else None

    description = import_arrays(
        OUT.value,
        source,
        activations,
        open_array(TOKENS.value, "tokens"),
        documents=optional(DOCUMENTS.value, "documents"),
        kept=optional(KEPT.value, "kept"),
        pieces=read_pieces(),
        skip_first=EARLY.value,
        outlier_norm=OUTLIER.value or math.inf,
        progress=lambda done, shards: print(f"shard {done} of {shards}", flush=True),
    )
    print(
        f"{OUT.value}: {description.tokens} tokens kept of {description.positions} positions, "
        f"{description.documents} documents, {source.context} positions a context, {source.dtype}"
    )


if __name__ == "__main__":
    launch.run(main)
