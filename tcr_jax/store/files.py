"""The JSON files of a store: written whole, read with their version checked; checksums; and the error of it all."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tcr_jax.files import write_text

FORMAT = 1
"""Version of the layout on disk, in every JSON file of it; a reader refuses every other one."""


class StoreError(ValueError):
    """A store, or what was to become one, that cannot be used: the message names the culprit and the mend."""


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON, atomically; several processes may write the same file at once."""
    write_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object at `path`.

    Raises `StoreError` where the file is missing, is not a JSON object, or is of another version of the format.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; point at a directory that an extraction or an import wrote") from None
    except ValueError as error:
        raise StoreError(f"{path}: damaged, not JSON ({error}); restore the file or write the store again") from error
    version = values.get("format") if isinstance(values, dict) else None
    if version != FORMAT:
        raise StoreError(f"{path}: format {version!r}, but this version reads {FORMAT}; write the store again with it")
    return values


def sha256(path: Path) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
