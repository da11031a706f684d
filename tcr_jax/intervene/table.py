"""What interventions measured as a CSV, between the programs that write and read it."""

import csv
import io
from collections.abc import Mapping, Sequence

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
      ValueError: a column is missing from the table called `name`.
    """
    table = csv.DictReader(io.StringIO(text))
    missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
    if missing:
        raise ValueError(f"{name}: no column {', '.join(missing)}; give the table that experiments.intervene writes")
    found: dict[tuple[str, str], list[Intervention]] = {}
    for row in table:
        source, target, lag, *changes, occurrences = (row[column] for column in Intervention._fields)
        effect, dose, direct, process, measured, error = map(float, changes)
        whole = int(source), int(target), int(lag), int(occurrences)
        edge = Intervention(*whole[:3], effect, dose, direct, process, measured, error, whole[3])
        found.setdefault((row["edit"], row["set"]), []).append(edge)
    return found
