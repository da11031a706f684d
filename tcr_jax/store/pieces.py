"""The text of every token id, kept with the store so that its text can be shown without a tokenizer."""

from collections.abc import Sequence
from pathlib import Path

from tcr_jax.store.files import FORMAT, StoreError, read_json, write_json

PIECES = "pieces.json"


def write_pieces(directory: Path, pieces: Sequence[str]) -> None:
    """Writes the texts, by token id."""
    write_json(directory / PIECES, {"format": FORMAT, "pieces": list(pieces)})


def read_pieces(directory: Path) -> list[str]:
    """The texts, by token id. Raises `StoreError` where the file is missing or damaged."""
    pieces = read_json(directory / PIECES).get("pieces")
    if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
        raise StoreError(f"{directory / PIECES}: holds no list of texts; restore the file or write the store again")
    return pieces
