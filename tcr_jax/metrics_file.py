"""`metrics.jsonl`: one JSON object a line, in order of steps, also after a run was stopped and continued."""

import contextlib
import json
from pathlib import Path
from typing import Any

from tcr_jax.files import write_text

METRICS = "metrics.jsonl"


class MetricsFile:
    """Appends lines to `workdir/metrics.jsonl`. Lines after the step that a run continues from are dropped first."""

    def __init__(self, workdir: Path, from_step: int) -> None:
        path = workdir / METRICS
        if path.exists():
            lines = [json.dumps(line) + "\n" for line in read_metrics(workdir) if line["step"] <= from_step]
            write_text(path, "".join(lines))
        self._file = path.open("a", encoding="utf-8")

    def write(self, values: dict[str, Any]) -> None:
        """Adds a line. Raises `OSError` naming the file, for instance on a full disk."""
        try:
            self._file.write(json.dumps(values) + "\n")
            self._file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):  # the same again, for the line is still in memory
                self._file.close()
            raise OSError(error.errno, error.strerror, self._file.name) from error

    def close(self) -> None:
        self._file.close()


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The lines written so far; a last line that a kill cut short is left out."""
    lines = []
    for line in (workdir / METRICS).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def last_step(workdir: Path) -> int:
    """The step of the last line, 0 where there is none: a run that was asked to stop has not reached its last step."""
    lines = read_metrics(workdir) if (workdir / METRICS).exists() else []
    return lines[-1]["step"] if lines else 0
