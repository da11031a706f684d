"""Certified edges as a table: which come first, and the CSV between the programs that read it."""

import csv
import hashlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from tcr_jax.csv_rows import read_rows
from tcr_jax.params import Process
from tcr_jax.typing import Array
from tcr_jax.yardsticks.slopes import Slopes

RUN = "run"
"""The column that says whose concepts they are; tables made before there was one lack it."""


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
    """
    weight_lkk = np.zeros((max((edge.lag for edge in edges), default=0) + 1, latents, latents), np.float32)
    for edge in edges:
        weight_lkk[edge.lag, edge.target, edge.source] = edge.weight
    instantaneous = any(edge.lag == 0 for edge in edges)
    m_kk = jnp.asarray(weight_lkk[0]) if instantaneous else None
    return Process(b_lkk=jnp.asarray(weight_lkk[1:]), m_kk=m_kk, intercept_k=None)


def digest(decoder_kd: Array | np.ndarray) -> str:
    """What a run's concepts are known by: 12 hex digits of the SHA-256 of their directions, as float32."""
    return hashlib.sha256(np.ascontiguousarray(decoder_kd, "<f4").tobytes()).hexdigest()[:12]


def to_csv(edges: Sequence[CertifiedEdge], decoder_kd: Array | np.ndarray) -> str:
    """One line an edge of these concepts under a line of names; six digits."""
    text, run = io.StringIO(), digest(decoder_kd)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*CertifiedEdge._fields, RUN))
    writer.writerows((*edge[:3], *(f"{number:.6g}" for number in edge[3:]), run) for edge in edges)
    return text.getvalue()


def from_csv(
    text: str, name: str, decoder_kd: Array | np.ndarray, columns: Sequence[str] = CertifiedEdge._fields
) -> list[CertifiedEdge]:
    """Reads `to_csv`, in the order of the lines.

    Args:
      text: of the table.
      name: what it is called in messages.
      decoder_kd: directions of the concepts that the edges must be of.
      columns: those that the table must have; a number that it lacks is nan.

    Raises:
      ValueError: a column is missing from the table, a line cannot be read, or the edges are those of another run.
    """
    run, latents = digest(decoder_kd), len(decoder_kd)

    def edge(cells: dict[str, str]) -> CertifiedEdge:
        if cells.get(RUN, run) != run:
            raise ValueError(f"made with the concepts of run {cells[RUN]}, not with those of {run}")
        source, target, lag = (int(cells[column]) for column in CertifiedEdge._fields[:3])
        numbers = (float(cells.get(column, "nan")) for column in CertifiedEdge._fields[3:])
        if not (0 <= source < latents and 0 <= target < latents):
            raise ValueError(f"joins concepts {source} and {target} where the dictionary has {latents}")
        if lag < 0:
            raise ValueError(f"lag={lag} is below 0")
        return CertifiedEdge(source, target, lag, *numbers)

    return read_rows(text, name, columns, edge, "give a table that experiments.certify writes with this run")
