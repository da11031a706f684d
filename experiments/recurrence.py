"""Certified edges that come back with another dictionary, between the concepts that both dictionaries have.

    python -m experiments.recurrence --workdir=A --edges=A.csv --workdir=B --edges=B.csv [--workdir=...] [--first=1000]

The runs are of the same activations, say other seeds; the tables are those that `experiments.certify` writes with each.
Every run is compared with every other one, in both directions; concepts are paired as in
tcr_jax/yardsticks/stability.py. One line a number of first edges: the mean over comparisons, in brackets the worst.
"""

import itertools
from pathlib import Path

import numpy as np
from absl import flags

from experiments import launch
from tcr_jax.checkpoint import load_run
from tcr_jax.config import ConfigError
from tcr_jax.yardsticks.edge_table import CertifiedEdge, from_csv, to_process
from tcr_jax.yardsticks.stability import EdgeRecurrence, edge_recurrence, match_concepts

_WORKDIRS = flags.DEFINE_multi_string("workdir", None, "directory of a run; two or more", required=True)
_TABLES = flags.DEFINE_multi_string("edges", None, "its certified edges, in the order of --workdir", required=True)
_FIRST = flags.DEFINE_multi_integer("first", [], "also the first so many edges of a table between two concepts", 1)


def main() -> None:
    if not 2 <= len(_WORKDIRS.value) == len(_TABLES.value):
        raise ConfigError(
            f"{len(_WORKDIRS.value)} --workdir and {len(_TABLES.value)} --edges: give two runs or more, a table each"
        )
    runs = [load_run(workdir) for workdir in _WORKDIRS.value]
    for run, workdir in zip(runs, _WORKDIRS.value, strict=True):
        runs[0].check_source(run.source, workdir)
    rows = [np.asarray(run.params.dictionary.decoder_kd) for run in runs]
    tables = [_between(name, rows_kd) for name, rows_kd in zip(_TABLES.value, rows, strict=True)]
    processes = [to_process(table, len(rows_kd)) for table, rows_kd in zip(tables, rows, strict=True)]
    pairs = [(a, b, match_concepts(rows[a], rows[b])) for a, b in itertools.permutations(range(len(rows)), 2)]
    print("edges               number  both ends matched  come back         by chance")
    _show("all", [edge_recurrence(processes[a], processes[b], matching) for a, b, matching in pairs])
    for first in _FIRST.value:
        chosen = [to_process(table[:first], len(rows_kd)) for table, rows_kd in zip(tables, rows, strict=True)]
        _show(f"first {first:,}", [edge_recurrence(chosen[a], processes[b], matching) for a, b, matching in pairs])


def _between(name: str, rows_kd: np.ndarray) -> list[CertifiedEdge]:
    """The edges between two concepts of a run, in the order of the table."""
    table = from_csv(Path(name).read_text(encoding="utf-8"), name, rows_kd)
    return [edge for edge in table if edge.source != edge.target]


def _show(name: str, found: list[EdgeRecurrence]) -> None:
    edges, comparable, back, expected = np.asarray(found, float).T
    scored = comparable > 0
    share, chance = back[scored] / comparable[scored], expected[scored] / comparable[scored]
    if not scored.any():
        print(f"{name:18} {edges.mean():7,.0f}  none has both ends matched")
        return
    print(
        f"{name:18} {edges.mean():7,.0f}  {(comparable / np.maximum(edges, 1)).mean():17.1%}  "
        f"{share.mean():6.1%} ({share.min():.1%})  {chance.mean():10.1%}",
        flush=True,
    )


if __name__ == "__main__":
    launch.run(main)
