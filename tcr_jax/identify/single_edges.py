"""Single edges of a graph under search: one child more, or one in the place of another, while that lowers the cost.

What a child would bring a concept depends on that concept's own children alone: it is counted again only where they
have changed. Whether the edge may be had, as no cycle must be closed, depends on all the others.
"""

import itertools
from typing import NamedTuple

import numpy as np

from tcr_jax.identify.columns import Children, without
from tcr_jax.identify.graph import Graph

GAIN = 1e-6
"""Of cost, below which a change is none."""

PROMISING = 0.1
"""Least gain that the count over a column's clearest entries must promise before it is tried on all."""

CYCLES = 3
"""As many cycles a new edge may close, and have broken elsewhere."""


class Offers(NamedTuple):
    """What one more child would bring a concept, beside all that it has, or all but one: a base each."""

    children: Children  # that it had when these were made
    bases: list[Children]
    effect_bc: list[np.ndarray]
    change_bc: list[np.ndarray]  # of cost, as its clearest entries have it


def improve(graph: Graph, sweeps: int = 10) -> None:
    """Single edges added and swapped while that lowers the cost."""
    offers: dict[int, Offers] = {}
    for _ in range(sweeps):
        renew(offers, graph)
        if not _sweep(graph, offers):
            break


def renew(offers: dict[int, Offers], graph: Graph) -> None:
    """Offers to every concept whose children are not those that it had."""
    columns = graph.columns
    new = [j for j, children in enumerate(graph.children) if j not in offers or offers[j].children != children]
    if not new:
        return
    kept = [(j, without(graph.children[j], dropped)) for j in new for dropped in (None, *graph.children[j])]
    of_base = [(j, *columns.refit(j, children)) for j, children in kept]
    remainders = [columns.remainder(j, base) for j, base, _ in of_base]
    effect_ac, change_ac = columns.additions(remainders, np.array([j for j, *_ in of_base]))
    offers |= {j: Offers(dict(graph.children[j]), [], [], []) for j in new}
    for (j, base, cost), effect_c, change_c in zip(of_base, effect_ac, change_ac, strict=True):
        offers[j].bases.append(base)
        offers[j].effect_bc.append(effect_c)
        offers[j].change_bc.append(change_c + (cost - graph.cost[j]))


def _sweep(graph: Graph, offers: dict[int, Offers]) -> int:
    """At most one change a concept, the most promising first; how many were made."""
    promising = [
        (change_c[c], j, b, c)
        for j, offer in offers.items()
        for b, change_c in enumerate(offer.change_bc)
        for c in np.flatnonzero(change_c < -PROMISING)
    ]
    changed: set[int] = set()
    for _, j, b, c in sorted(promising):
        child = int(graph.columns.candidate_kc[j, c])
        if j in changed or child in graph.children[j]:
            continue
        children = offers[j].bases[b] | {child: float(offers[j].effect_bc[b][c])}
        changed |= _apply(graph, j, child, children, changed)
    return len(changed)


def _apply(graph: Graph, j: int, child: int, children: Children, changed: set[int]) -> set[int]:
    """Gives j these children if that lowers the cost, the weakest edge of every cycle that this closes taken away."""
    before, kept = graph.total, graph.state(j)
    touched = {j}
    graph.assign(j, *graph.columns.pruned(j, children))
    for _ in range(CYCLES):
        cycle = graph.path(child, j) if child in graph.children[j] else []
        if not cycle or graph.total - before > -GAIN:
            break
        weakest = min(
            ((source, *graph.without(source, target)) for source, target in itertools.pairwise(cycle)),
            key=lambda option: option[2] - graph.cost[option[0]],
        )
        if weakest[0] in changed:
            break
        kept = graph.state(weakest[0]) + kept
        touched.add(weakest[0])
        graph.assign(*weakest)
    if graph.total < before - GAIN and not (child in graph.children[j] and graph.path(child, j)):
        return touched
    graph.restore(kept)
    return set()
