"""Certified edges as a table: which come first, and the CSV between the programs that read it."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from tcr_jax.params import Process
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


def to_process(edges: Sequence[CertifiedEdge], latents: int) -> Process:
    """B with the weights of these edges and zero elsewhere, and M likewise where the table has edges of lag 0.

    The weights are slopes on one source at a time: compare such processes, but do not predict with them.

    Raises:
      ValueError: an edge names a concept that a dictionary of `latents` does not have.
    """
    for number, edge in enumerate(edges, 1):
        if not (0 <= edge.source < latents and 0 <= edge.target < latents):
            raise ValueError(
                f"edge {number} joins concepts {edge.source} and {edge.target} and the dictionary has {latents}: "
                "give the table that was made with this run"
            )
    weight_lkk = np.zeros((max((edge.lag for edge in edges), default=0) + 1, latents, latents), np.float32)
    for edge in edges:
        weight_lkk[edge.lag, edge.target, edge.source] = edge.weight
    instantaneous = any(edge.lag == 0 for edge in edges)
    m_kk = jnp.asarray(weight_lkk[0]) if instantaneous else None
    return Process(b_lkk=jnp.asarray(weight_lkk[1:]), m_kk=m_kk, intercept_k=None)


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
