"""Files that are whole or absent: written beside their place, flushed to disk, then renamed into it."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

PARTIAL = ".partial"
"""Suffix of a file that its writer has not finished. Nobody reads one."""


def publish(partial: Path, path: Path) -> None:
    """Makes `partial` the file at `path`, durably: after a crash that is the old file or the new one, never a mix."""
    _flush(partial)
    partial.replace(path)
    _flush(path.parent)


def partial_path(path: Path) -> Path:
    """Where to write what will be the file at `path`: a name that no other writer of it has."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces the file at `path`, atomically; several processes may do so at once. Raises `OSError` naming `path`."""
    partial = partial_path(path)
    try:
        partial.write_bytes(content)
        publish(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_bytes`, of the text in UTF-8."""
    write_bytes(path, text.encode())


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises `ValueError` naming `path` where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); restore the file, or delete it and make it again") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
