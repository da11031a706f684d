"""Single edges of a graph under search: one child more, or one in the place of another, while that lowers the cost.

What a child would bring a concept depends on that concept's own children alone: it is counted again only where they
have changed. Whether the edge may be had, as no cycle must be closed, depends on all the others.
"""

import itertools
from typing import NamedTuple

import numpy as np

from tcr_jax.identify.columns import Children
from tcr_jax.identify.graph import Graph

GAIN = 1e-6
"""Of cost, below which a change is none."""

PROMISING = 0.1
"""Least gain that the count over a column's clearest entries must promise before it is tried on all."""

CYCLES = 3
"""As many cycles a new edge may close, and have broken elsewhere."""


class Offers(NamedTuple):
    """What one more child would bring a concept, beside all that it has or all but one."""

    children: Children  # that it had when these were made
    bases: list[Children]
    effect_bc: np.ndarray
    change_bc: np.ndarray  # of cost, as its clearest entries have it


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
    bases, costs, remainders = [], [], []
    for j in new:
        children = graph.children[j]
        fewer = [{i: m for i, m in children.items() if i != dropped} for dropped in (None, *children)]
        refitted = [columns.refit(j, base) for base in fewer]
        bases.append([base for base, _ in refitted])
        costs.append([cost - graph.cost[j] for _, cost in refitted])
        remainders += [columns.remainder(j, base) for base in bases[-1]]
    if not new:
        return
    of_each = list(map(len, bases))
    effect_ac, change_ac = columns.additions(remainders, np.repeat(new, of_each))
    change_ac = change_ac + np.concatenate(costs)[:, None]
    effects, changes = (np.split(of_ac, np.cumsum(of_each)[:-1]) for of_ac in (effect_ac, change_ac))
    for j, of_j, effect_bc, change_bc in zip(new, bases, effects, changes, strict=True):
        offers[j] = Offers(dict(graph.children[j]), of_j, effect_bc, change_bc)


def _sweep(graph: Graph, offers: dict[int, Offers]) -> int:
    """At most one change a concept, the most promising first; how many were made."""
    promising = [
        (offer.change_bc[b, c], j, b, c)
        for j, offer in offers.items()
        for b, c in zip(*np.nonzero(offer.change_bc < -PROMISING), strict=True)
    ]
    changed: set[int] = set()
    for _, j, b, c in sorted(promising):
        child = int(graph.columns.candidate_kc[j, c])
        if j in changed or child in graph.children[j]:
            continue
        children = offers[j].bases[b] | {child: float(offers[j].effect_bc[b, c])}
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
