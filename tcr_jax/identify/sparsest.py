"""The sparsest acyclic M: of all models that explain the data equally well, the one with the fewest effects.

Whatever M is, z' = (I - M) z follows a process without instantaneous effects, B'_l = B_l (I - M)^{-1}, and the data
show B' alone. The true M is the one that makes B = B' (I - M) sparse (Song et al. 2025, corollary 1). Finding it is a
combinatorial problem; this is a local search over acyclic graphs from a convex start:

1. regress every column of B' on the others, robustly: its own children remove most of its entries;
2. keep of the edges found those that gain most, as long as they close no cycle;
3. improve by single edges (add, swap, take from a cycle), and by pivots: where column j was explained by its parent p,
   whose column is then explained by j's other relatives, hand j's solution to p and find j a new one;
4. again from 1, each column now on those alone that do not lead to it, relatives first, until nothing improves.
"""

from collections.abc import Callable

import numpy as np

from tcr_jax.identify.columns import Children, Columns, Prior, without
from tcr_jax.identify.discovery import discovery_threshold
from tcr_jax.identify.graph import Graph
from tcr_jax.identify.single_edges import GAIN, improve

STARTS = (0.05, 0.5)
"""Of the regressions (see `Columns.regress`): neither finds all that the other does."""


def sparsest_acyclic(
    b_lkk: np.ndarray, deviation_lkk: np.ndarray, rounds: int = 8, observe: Callable[[str], None] = lambda line: None
) -> np.ndarray:
    """M [target, source]: acyclic, of least cost (see `columns`), as far as the search finds it.

    The prior's share and size of effects are estimated along the way.

    Args:
      b_lkk: B', the delayed effects where instantaneous ones are ignored.
      deviation_lkk: standard errors of its entries.
      rounds: at most.
      observe: called with a line on the progress.
    """
    k = b_lkk.shape[-1]
    column_rk, deviation_rk = np.reshape(b_lkk, (-1, k)), np.reshape(deviation_lkk, (-1, k))
    if k == 1:
        return np.zeros((1, 1))
    graph = Graph(Columns(column_rk, deviation_rk, _expect(column_rk, deviation_rk, np.zeros((k, k)))))
    _restart(graph, STARTS[0])
    improve(graph)
    columns = Columns(column_rk, deviation_rk, _expect(column_rk, deviation_rk, graph.m_kk))
    for _ in range(rounds):
        graph.use(columns.preferring(graph.near_kk))
        before = graph.total
        turned = _pivot(graph)
        improve(graph)
        for least in STARTS:
            kept = graph.state()
            _restart(graph, least)
            improve(graph)
            if graph.total > sum(cost for *_, cost in kept):
                graph.clear()
                graph.restore(kept)
        observe(f"{graph.edges:,} instantaneous effects at cost {graph.total:,.1f}, {turned} pivots")
        if graph.total > before - GAIN:
            break
    return graph.m_kk


def _expect(column_rk: np.ndarray, deviation_rk: np.ndarray, m_kk: np.ndarray) -> Prior:
    """The share and size of effects, from those that are clear given M."""
    u_rk = column_rk @ (np.eye(len(m_kk)) - m_kk)
    error_rk = np.sqrt(deviation_rk**2 + deviation_rk**2 @ m_kk**2)
    clear_rk = np.abs(u_rk) > discovery_threshold(u_rk / error_rk) * error_rk
    sigma, k = float(np.median(deviation_rk)), len(m_kk)
    share = float(np.clip(clear_rk.mean(), 1 / u_rk.size, 0.5))
    size = float(np.sqrt(np.square(u_rk[clear_rk]).mean())) if clear_rk.any() else 3 * sigma
    edges = np.count_nonzero(m_kk)
    share_m = float(np.clip(edges / (k * (k - 1)), 1 / k**2, 0.5))
    size_m = float(np.sqrt(np.square(m_kk).sum() / edges)) if edges else 1.0
    sigma_m = sigma / max(float(np.sqrt(np.square(column_rk).sum() / k)), sigma)
    price = np.log(max((1 - share) / share * size / sigma, 20.0))
    price_m = np.log(max((1 - share_m) / share_m * size_m / sigma_m, 20.0))
    return Prior(float(np.sqrt(2 * price)), size, size_m, max(1.0, float(price_m / price)))


def _restart(graph: Graph, least: float) -> None:
    """New children for every concept, from regressions on all candidates that do not lead to it."""
    columns = graph.columns
    everyone = range(columns.count)
    allowed_kc = np.stack([~np.isin(columns.candidate_kc[j], list(graph.above(j))) for j in everyone])
    edges: list[tuple[float, int, int, float]] = []
    for j, children in enumerate(columns.regress(np.arange(columns.count), allowed_kc, least)):
        children, cost = columns.pruned(j, children)
        for i, effect in children.items():
            edges.append((columns.refit(j, without(children, i))[1] - cost, j, i, effect))
    graph.clear()
    for _, j, i, effect in sorted(edges, reverse=True):
        graph.try_assign(j, graph.children[j] | {i: effect}, 0.0)
    for j in everyone:
        graph.assign(j, *columns.refit(j, graph.children[j]))


def _pivot(graph: Graph) -> int:
    """For every edge j -> p: p takes over the solution of j's column, and j is regressed anew. How many were better."""
    columns = graph.columns
    tries: list[tuple[int, int, Children]] = []
    allowed: list[np.ndarray] = []
    for j, children in enumerate(graph.children):
        for p, effect in list(children.items()):
            handed = {j: 1 / effect} | {i: -m / effect for i, m in without(children, p).items()} if effect else {}
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
    found = columns.regress(np.array([j for j, *_ in tries]), np.stack(allowed), STARTS[0])
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
