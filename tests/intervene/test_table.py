"""What interventions measured is read as it was written."""

import pytest

from tcr_jax.intervene.edges import Intervention
from tcr_jax.intervene.table import from_csv, to_csv


def test_read_as_written() -> None:
    """By edit and set, in their order, every number as it was."""
    one = Intervention(3, 5, 2, 0.1 + 0.2, -1.5, -0.45, 1e-17, -0.07, float("inf"), 64)
    found = {("removal", "edges"): [one, one._replace(target=7)], ("addition", "own"): [one._replace(target=3)]}
    assert from_csv(to_csv(found), "interventions.csv") == found


def test_a_foreign_table_is_named() -> None:
    """With the columns that it lacks."""
    with pytest.raises(ValueError, match="edges.csv: no column edit, set, effect, dose"):
        from_csv("source,target,lag\n1,2,1\n", "edges.csv")


def test_a_damaged_table_is_named() -> None:
    """With the line that breaks off, or where nothing is left under the names."""
    text = to_csv({("removal", "edges"): [Intervention(3, 5, 2, 0.5, 1.0, 0.5, 0.5, 0.2, 0.1, 64)] * 2})
    with pytest.raises(ValueError, match="tested.csv, line 3: not 12 cells; give the table"):
        from_csv(text[:-8], "tested.csv")
    with pytest.raises(ValueError, match="tested.csv: no line under the names"):
        from_csv(text.splitlines()[0], "tested.csv")
