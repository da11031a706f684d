"""The reported relations as a table: CSV for spreadsheets, JSON for programs."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tcr_jax.relations.contexts import Contexts
from tcr_jax.relations.edges import Edge
from tcr_jax.relations.page import Writer

NAMES = ("effect", "source_label", "target_label", "firings", "pair_share", "pair")
COLUMNS = (*(field.name for field in dataclasses.fields(Edge)), *NAMES)


def rows(
    edges: Sequence[Edge], contexts: Contexts, labels: Mapping[int, str], writer: Writer
) -> list[dict[str, Any]]:
    """One row an edge: its numbers as they are in B and M, then names, direction, and what its firings share.

    `effect` is the direction between the concepts as the page turns them; `firings`, `pair` and `pair_share` are over
    all documents read.
    """
    return [
        {
            **dataclasses.asdict(edge),
            "effect": "raises" if edge.weight * contexts.sign(edge) > 0 else "lowers",
            "source_label": labels[edge.source],
            "target_label": labels[edge.target],
            "firings": example.firings,
            "pair_share": example.pair_share,
            "pair": " ".join(writer.piece(token) for token in example.pair or ()),
        }
        for edge, example in zip(edges, contexts.examples, strict=True)
    ]


def to_csv(table: Sequence[Mapping[str, Any]]) -> str:
    """The table under a line of names."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def to_json(value: Any) -> str:
    """JSON in which a number that does not exist (not a number, infinite) is null."""
    return json.dumps(_finite(value), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
