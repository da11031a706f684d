"""The sparsest acyclic M: of all models that explain the data equally well, the one with the fewest effects.

Whatever M is, z' = (I - M) z follows a process without instantaneous effects, B'_l = B_l (I - M)^{-1}, and the data
show B' alone. The true M is the one that makes B = B' (I - M) sparse (Song et al. 2025, corollary 1). Finding it is a
combinatorial problem; this is a local search over acyclic graphs from a convex start:

1. regress every column of B' on the others, robustly: its own children remove most of its entries;
2. keep of the edges found those that gain most, as long as they close no cycle;
3. improve by single edges (add, swap, reverse), and by pivots: where column j was explained by its parent p, whose
   column is then explained by j's other relatives, hand j's solution to p and find j a new one;
4. again from 1, each column now on those alone that do not lead to it, until nothing improves.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tcr_jax.identify.columns import Children, Columns
from tcr_jax.identify.graph import Graph

GAIN = 1e-6


class Sparsest(NamedTuple):
    """M [target, source], and the number of effects it leaves to explain: of B and of M together."""

    m_kk: np.ndarray
    effects: float


def sparsest_acyclic(
    b_lkk: np.ndarray,
    deviation_lkk: np.ndarray,
    threshold: float,
    rounds: int = 8,
    observe: Callable[[str], None] = lambda line: None,
) -> Sparsest:
    """min over acyclic M of sum_lij min(u_lij^2 / (threshold deviation)^2, 1) + |M|_0,  u_l = B'_l (I - M).

    Args:
      b_lkk: B', the delayed effects where instantaneous ones are ignored.
      deviation_lkk: standard errors of its entries.
      threshold: standard errors from which on an entry counts as an effect.
      rounds: at most.
      observe: called with a line on the progress.
    """
    k = b_lkk.shape[-1]
    columns = Columns(np.reshape(b_lkk, (-1, k)), np.reshape(deviation_lkk, (-1, k)), threshold)
    graph = Graph(columns)
    if k > 1:
        _restart(graph)
        _improve(graph)
        observe(f"{graph.total:,.0f} effects after the start")
        for _ in range(rounds):
            before = graph.total
            turned = _pivot(graph)
            _improve(graph)
            kept = graph.state()
            _restart(graph)
            _improve(graph)
            if graph.total > sum(cost for *_, cost in kept):
                for j in range(k):
                    graph.assign(j, {}, 0.0)
                graph.restore(kept)
            observe(f"{graph.total:,.0f} effects, {turned} pivots")
            if graph.total > before - GAIN:
                break
    m_kk = np.zeros((k, k))
    for j, children in enumerate(graph.children):
        m_kk[list(children), j] = list(children.values())
    return Sparsest(m_kk, graph.total)


def _restart(graph: Graph) -> None:
    """New children for every concept, from regressions on all candidates that do not lead to it."""
    columns = graph.columns
    everyone = range(columns.count)
    allowed_kc = np.stack([~np.isin(columns.candidate_kc[j], list(graph.above(j))) for j in everyone])
    edges: list[tuple[float, int, int, float]] = []
    for j, children in enumerate(columns.regress(np.arange(columns.count), allowed_kc)):
        children, cost = columns.pruned(j, children)
        for i, effect in children.items():
            without = columns.refit(j, {other: m for other, m in children.items() if other != i})[1]
            edges.append((without - cost, j, i, effect))
    for j in everyone:
        graph.assign(j, {}, 0.0)
    for _, j, i, effect in sorted(edges, reverse=True):
        graph.try_assign(j, graph.children[j] | {i: effect}, 0.0)
    for j in everyone:
        graph.assign(j, *columns.refit(j, graph.children[j]))


def _improve(graph: Graph, sweeps: int = 10) -> None:
    """Single edges added, swapped and reversed while that lowers the cost."""
    for _ in range(sweeps):
        if not _sweep(graph):
            break


def _sweep(graph: Graph) -> int:
    """At most one change a concept, the most promising first; how many were made."""
    columns = graph.columns
    bases: list[tuple[int, int | None]] = []
    remainders, base_cost = [], []
    for j, children in enumerate(graph.children):
        for dropped in (None, *children):
            fewer, cost = columns.refit(j, {i: m for i, m in children.items() if i != dropped})
            bases.append((j, dropped))
            remainders.append(columns.remainder(j, fewer))
            base_cost.append(cost - graph.cost[j])
    target_a = np.array([j for j, _ in bases])
    effect_ac, change_ac = columns.additions(remainders, target_a)
    change_ac = change_ac + np.array(base_cost)[:, None]
    changed: set[int] = set()
    for place in np.argsort(change_ac, axis=None):
        a, c = divmod(int(place), change_ac.shape[1])
        if change_ac[a, c] > -0.5:
            break
        (j, dropped), child = bases[a], int(columns.candidate_kc[target_a[a], c])
        if j in changed or child in graph.children[j]:
            continue
        children = {i: m for i, m in graph.children[j].items() if i != dropped} | {child: float(effect_ac[a, c])}
        changed |= _apply(graph, j, child, children, changed)
    return len(changed)


def _apply(graph: Graph, j: int, child: int, children: Children, changed: set[int]) -> set[int]:
    """Gives j these children if that lowers the cost, taking j from the new child's own where it stands there."""
    before, kept = graph.total, graph.state(j, child)
    touched = {j}
    if j in graph.children[child]:
        if child in changed:
            return set()
        graph.assign(child, *graph.columns.refit(child, {i: m for i, m in graph.children[child].items() if i != j}))
        touched.add(child)
    if graph.try_assign(j, *graph.columns.pruned(j, children)) and graph.total < before - GAIN:
        return touched
    graph.restore(kept)
    return set()


def _pivot(graph: Graph) -> int:
    """For every edge j -> p: p takes over the solution of j's column, and j is regressed anew. How many were better."""
    columns = graph.columns
    tries: list[tuple[int, int, Children]] = []
    allowed: list[np.ndarray] = []
    for j, children in enumerate(graph.children):
        for p, effect in list(children.items()):
            handed = {j: 1 / effect} | {i: -m / effect for i, m in children.items() if i != p} if effect else {}
            kept = graph.state(j, p)
            graph.assign(j, {}, 0.0)
            graph.assign(p, {}, 0.0)
            if handed and graph.try_assign(p, handed, 0.0):
                tries.append((j, p, handed))
                allowed.append(~np.isin(columns.candidate_kc[j], list(graph.above(j))))
            graph.assign(p, {}, 0.0)
            graph.restore(kept)
    if not tries:
        return 0
    found = columns.regress(np.array([j for j, *_ in tries]), np.stack(allowed))
    better = []
    for (j, p, handed), children in zip(tries, found, strict=True):
        of_p = columns.pruned(p, handed)
        if of_p[1] < graph.cost[j] + graph.cost[p]:
            of_j = columns.pruned(j, children)
            gain = graph.cost[j] + graph.cost[p] - of_p[1] - of_j[1]
            if gain > GAIN:
                better.append((gain, j, p, of_j, of_p))
    changed: set[int] = set()
    for _, j, p, of_j, of_p in sorted(better, key=lambda option: -option[0]):
        if changed & {j, p}:
            continue
        kept = graph.state(j, p)
        graph.assign(j, {}, 0.0)
        graph.assign(p, {}, 0.0)
        if graph.try_assign(p, *of_p) and graph.try_assign(j, *of_j):
            changed |= {j, p}
        else:
            graph.assign(p, {}, 0.0)
            graph.restore(kept)
    return len(changed) // 2
