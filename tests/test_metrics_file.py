"""metrics.jsonl: whole lines, in order, whatever happened to the run before."""

import os
from pathlib import Path

import pytest

from tcr_jax.metrics_file import METRICS, MetricsFile, read_metrics


def test_continuing_drops_what_will_be_written_again(tmp_path: Path) -> None:
    """Lines after the step that a run continues from go; a line cut short by a kill goes; the others stay."""
    first = MetricsFile(tmp_path, 0)
    for step in (1, 2, 3):
        first.write({"step": step})
    first.close()
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 4, "lo')
    second = MetricsFile(tmp_path, 2)
    second.write({"step": 3, "again": True})
    second.close()
    assert read_metrics(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """The error says which file could not be written, and closing the file afterwards does not raise another."""
    file = MetricsFile(tmp_path, 0)
    with Path("/dev/full").open("w") as full:  # every write fails as on a full disk
        os.dup2(full.fileno(), file._file.fileno())
    with pytest.raises(OSError, match="No space left on device: .*metrics.jsonl"):
        file.write({"step": 1})
    file.close()
