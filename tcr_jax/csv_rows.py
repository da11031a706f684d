"""Rows of a table that another program wrote as CSV; what is wrong with one is said with the file and the line."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")


def read_rows(
    text: str, name: str, columns: Sequence[str], parse: Callable[[dict[str, str]], Row], mend: str
) -> list[Row]:
    """Every line under the line of names, in order.

    Args:
      text: of the table.
      name: what the table is called in messages, as a rule its file.
      columns: those that it must have; others are passed on where it has them.
      parse: makes a row of a line's cells, by column. What it raises as `ValueError` is said of the line.
      mend: what messages end with.

    Raises:
      ValueError: a column is missing, or a line cannot be read.

    >>> read_rows("a,b\\n1,2\\n3,4\\n", "x.csv", ("a", "b"), lambda row: int(row["a"]) * int(row["b"]), "add b")
    [2, 12]
    """
    table = csv.DictReader(io.StringIO(text))
    missing = [column for column in columns if column not in (table.fieldnames or ())]
    if missing:
        raise ValueError(f"{name}: no column {', '.join(missing)}; {mend}")
    rows = []
    for cells in table:
        try:
            if None in cells or None in cells.values():
                raise ValueError(f"not {len(table.fieldnames or ())} cells")
            rows.append(parse(cells))
        except ValueError as error:
            raise ValueError(f"{name}, line {table.line_num}: {error}; {mend}") from error
    return rows
