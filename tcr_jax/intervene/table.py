"""What interventions measured as a CSV, between the programs that write and read it."""

import csv
import io
from collections.abc import Mapping, Sequence

from tcr_jax.csv_rows import read_rows
from tcr_jax.intervene.edges import Intervention

Found = Mapping[tuple[str, str], Sequence[Intervention]]
"""By edit ("removal", "addition") and by which edges ("edges", "own", "matched", "random"); see `study`."""

COLUMNS = ("edit", "set", *Intervention._fields)


def to_csv(found: Found) -> str:
    """One line a measured edge under a line of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for (edit, name), members in found.items():
        writer.writerows((edit, name, *edge) for edge in members)
    return text.getvalue()


def from_csv(text: str, name: str) -> dict[tuple[str, str], list[Intervention]]:
    """Reads `to_csv`.

    Raises:
      ValueError: a column is missing from the table called `name`, a line cannot be read, or there is none.
    """
    mend = "give the table that experiments.intervene writes"
    rows = read_rows(text, name, COLUMNS, _row, mend)
    if not rows:
        raise ValueError(f"{name}: no line under the names; {mend}")
    found: dict[tuple[str, str], list[Intervention]] = {}
    for kind, edge in rows:
        found.setdefault(kind, []).append(edge)
    return found


def _row(cells: Mapping[str, str]) -> tuple[tuple[str, str], Intervention]:
    source, target, lag, *changes, occurrences = (cells[column] for column in Intervention._fields)
    effect, dose, direct, process, measured, error = map(float, changes)
    whole = int(source), int(target), int(lag), int(occurrences)
    edge = Intervention(*whole[:3], effect, dose, direct, process, measured, error, whole[3])
    return (cells["edit"], cells["set"]), edge
