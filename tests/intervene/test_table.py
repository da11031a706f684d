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
