"""Lists of texts kept with a store, so that it can be read without its tokenizer and its corpus.

    pieces.json      the printable text of every token id
    documents.json   the name of every document, by its number, where the writer knew them
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tcr_jax.store.files import FORMAT, StoreError, read_json, write_json

Kind = Literal["pieces", "documents"]


def texts_path(directory: Path, kind: Kind) -> Path:
    """File of a list."""
    return directory / f"{kind}.json"


def write_texts(directory: Path, kind: Kind, texts: Sequence[str]) -> None:
    """Writes a list, atomically."""
    write_json(texts_path(directory, kind), {"format": FORMAT, kind: list(texts)})


def read_texts(directory: Path, kind: Kind) -> list[str]:
    """The list. Raises `StoreError` where the file is missing or damaged."""
    path = texts_path(directory, kind)
    texts = read_json(path).get(kind)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise StoreError(f"{path}: holds no list of texts; restore the file or write the store again")
    return texts


def read_document_names(directory: Path) -> list[str] | None:
    """The names of documents, or None in a store whose writer did not know them."""
    return read_texts(directory, "documents") if texts_path(directory, "documents").exists() else None
