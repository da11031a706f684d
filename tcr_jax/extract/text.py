"""Documents: texts with a name, from files, directories, JSON lines, a Hugging Face dataset, or Python itself."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.python_docs import python_docs

PYTHON_DOCS = "python-docs"
DATASETS = "datasets:"


class Document(NamedTuple):
    """One text. Nothing that a model reads or learns crosses from one to the next."""

    name: str  # what messages call it: a path (within its directory), a line of a file, a topic
    text: str


def read_documents(sources: Iterable[str], text_field: str = "text") -> Iterator[Document]:
    """The documents of all sources in order, without blank ones and without second copies.

    Args:
      sources: each one of
        a file               one document, UTF-8
        a .jsonl file        a document a line, the string in `text_field`
        a directory          its files, hidden ones and those that are not text left out, named by their path within
                             it and ordered by a hash of that, so that a first part is a fair sample
        datasets:NAME        a Hugging Face dataset, streamed, the string in `text_field` of every row; also
                             datasets:NAME:CONFIG and datasets:NAME:CONFIG:SPLIT (train, if not said)
        python-docs          the reference topics and standard library of the running Python
      text_field: field of a JSON object or a row that holds the text.

    Raises:
      ExtractError: a source does not exist, holds no text, has a line or row without the field, or is not UTF-8 in its
        name or its text.
    """
    seen = set()
    for source in sources:
        _utf8(source, "name", source)
        empty = True
        for document in _read(source, text_field):
            if not document.text.strip():
                continue
            empty = False
            _utf8(document.name, "name", document.name)
            digest = hashlib.sha256(_utf8(document.name, "text", document.text)).digest()
            if digest not in seen:
                seen.add(digest)
                yield document
        if empty:
            raise ExtractError(f"{source}: no text in it; give a source that holds UTF-8 text")


def _utf8(name: str, what: str, text: str) -> bytes:
    """The bytes of a text. Raises `ExtractError` with its name where a byte was none, or half a surrogate pair is."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        shown = name.encode(errors="backslashreplace").decode()
        raise ExtractError(
            f"{shown}: its {what} is not UTF-8 at character {error.start}; convert or repair it"
        ) from error


def _read(source: str, text_field: str) -> Iterator[Document]:
    if source == PYTHON_DOCS:
        return (Document(*item) for item in python_docs())
    if source.startswith(DATASETS):
        return _read_dataset(source, text_field)
    if Path(source).is_dir():
        return _read_directory(Path(source), text_field)
    if Path(source).is_file():
        return _read_file(Path(source), source, text_field)
    raise ExtractError(
        f"{source}: no such file or directory; give a file, a directory, {PYTHON_DOCS} or {DATASETS}NAME"
    )


def _read_file(path: Path, name: str, text_field: str) -> Iterator[Document]:
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8", errors="surrogateescape") as lines:  # `_utf8` then knows the line
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _json_document(f"{name}:{number}", line, text_field)
        return
    try:
        yield Document(name, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ExtractError(f"{path}: not UTF-8 at byte {error.start}; convert it to UTF-8") from error


def _read_directory(directory: Path, text_field: str) -> Iterator[Document]:
    names = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    visible = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    for name in sorted(visible, key=lambda name: hashlib.sha256(os.fsencode(name.as_posix())).digest()):
        if _is_text(directory / name):
            yield from _read_file(directory / name, name.as_posix(), text_field)


def _is_text(path: Path) -> bool:
    try:
        return "\0" not in path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False


def _json_document(name: str, line: str, text_field: str) -> Document:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ExtractError(f"{name}: not JSON ({error}); give one JSON object a line") from error
    if not isinstance(row, dict):
        raise ExtractError(f"{name}: not a JSON object; give one object a line, its text in {text_field!r}")
    return _row_document(name, row, text_field)


def _row_document(name: str, row: Mapping[str, Any], text_field: str) -> Document:
    text = row.get(text_field)
    if not isinstance(text, str):
        raise ExtractError(f"{name}: no text in field {text_field!r}; set text_field to one of: {', '.join(row)}")
    return Document(name, text)


def _read_dataset(source: str, text_field: str) -> Iterator[Document]:
    try:
        import datasets
    except ImportError as error:
        raise ExtractError(f"{source}: the package datasets is missing; pip install 'tcr_jax[datasets]'") from error
    name, config, split, *_ = [*source.removeprefix(DATASETS).split(":"), "", ""]
    try:
        rows = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
    except Exception as error:  # the hub's failures share no class
        raise ExtractError(
            f"{source}: not loaded ({error}); check name, config and split, or without network give files"
        ) from error
    for number, row in enumerate(rows):
        yield _row_document(f"{source}, row {number}", row, text_field)
