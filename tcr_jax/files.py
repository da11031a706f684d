"""Text files that are whole or absent."""

from pathlib import Path

from tcr_jax.store.files import PARTIAL, publish


def write_text(path: Path, text: str) -> None:
    """Replaces the file at `path` by one with this text, atomically."""
    partial = path.with_name(path.name + PARTIAL)
    partial.write_text(text, encoding="utf-8")
    publish(partial, path)
