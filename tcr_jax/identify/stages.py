"""Stages of a long computation, each kept on disk when done, so that a run that was stopped goes on where it was."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tcr_jax.files import write_bytes, write_text
from tcr_jax.identify.errors import NotIdentifiable

SETTINGS = "identify.json"
Arrays = dict[str, np.ndarray]


class Stages:
    """Results by name, in `workdir` if there is one."""

    def __init__(self, workdir: Path | None, settings: dict[str, Any]) -> None:
        """Raises `NotIdentifiable` where `workdir` holds stages of another run, or of settings that are damaged.

        Settings without stages bind nobody.
        """
        self._workdir = workdir
        if workdir is None:
            return
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / SETTINGS
        if path.exists() and any(workdir.glob("*.npz")):
            try:
                there = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise NotIdentifiable(f"{path} is damaged ({error}): use another workdir") from error
            changed = [name for name in settings if there.get(name) != settings[name]]
            wrong = [f"{name}: {there.get(name)} -> {settings[name]}" for name in changed]
            if wrong:
                raise NotIdentifiable(
                    f"{workdir} holds stages of another run (there -> here): {'; '.join(wrong)}. Use another workdir"
                )
        write_text(path, json.dumps(settings, indent=1) + "\n")

    def run(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """What `compute` returns, or returned when this stage was first done. Raises `NotIdentifiable` if damaged."""
        path = None if self._workdir is None else self._workdir / f"{name}.npz"
        if path is not None and path.exists():
            try:
                with np.load(path) as found:
                    return dict(found)
            except (ValueError, EOFError, zipfile.BadZipFile) as error:
                raise NotIdentifiable(f"{path} is damaged ({error}): delete it and start again") from error
        result = compute()
        if path is not None:
            buffer = io.BytesIO()
            np.savez(buffer, **result)  # type: ignore[arg-type]
            write_bytes(path, buffer.getvalue())
        return result
