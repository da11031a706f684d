"""Certified edges as a table: which come first, and the CSV between the programs that read it."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tcr_jax.yardsticks.slopes import Slopes


class CertifiedEdge(NamedTuple):
    """An effect that both halves of the documents have."""

    source: int
    target: int
    lag: int  # 0: within the token
    weight: float  # change of the target for one unit of the source, the mean of both halves
    predicted: float  # |weight| * mean |z_source| where it fires / std(z_target): what taking the source away changes
    t_first: float  # of the first half
    t_second: float


def edge_table(
    kept_lkk: np.ndarray,
    first: Slopes,
    second: Slopes,
    std_k: np.ndarray,
    strength_k: np.ndarray,
    *,
    lag_of_first: int = 1,
    first_t: float = 10.0,
) -> list[CertifiedEdge]:
    """Every non-zero effect: those with |t| > `first_t` in both halves first, and of them the largest prediction.

    Args:
      kept_lkk: from `confirmed`.
      first: of one half.
      second: of the other.
      std_k: each concept's standard deviation.
      strength_k: its mean |z| where it fires.
      lag_of_first: the lag at index 0 of `l`.
      first_t: see above.
    """
    at = np.nonzero(kept_lkk)
    lag_n, target_n, source_n = at
    predicted_n = np.abs(kept_lkk[at]) * strength_k[source_n] / std_k[target_n]
    clear_n = np.minimum(np.abs(first.t_lkk[at]), np.abs(second.t_lkk[at])) > first_t
    columns = (source_n, target_n, lag_n + lag_of_first, kept_lkk[at], predicted_n, first.t_lkk[at], second.t_lkk[at])
    return [
        CertifiedEdge(*(column[n].item() for column in columns)) for n in np.lexsort((-predicted_n, ~clear_n)).tolist()
    ]


def to_csv(edges: Sequence[CertifiedEdge]) -> str:
    """One line an edge under a line of names; six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CertifiedEdge._fields)
    writer.writerows((*edge[:3], *(f"{number:.6g}" for number in edge[3:])) for edge in edges)
    return text.getvalue()


def from_csv(text: str, name: str) -> list[CertifiedEdge]:
    """Reads `to_csv`, in the order of the lines.

    Raises:
      ValueError: a column is missing from the table called `name`.
    """
    table = csv.DictReader(io.StringIO(text))
    missing = [column for column in CertifiedEdge._fields if column not in (table.fieldnames or ())]
    if missing:
        raise ValueError(f"{name}: no column {', '.join(missing)}; give a table that experiments.certify writes")
    return [
        CertifiedEdge(
            *(int(row[column]) for column in CertifiedEdge._fields[:3]),
            *(float(row[column]) for column in CertifiedEdge._fields[3:]),
        )
        for row in table
    ]
