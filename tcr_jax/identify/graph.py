"""An acyclic graph under search: who has which instantaneous children, and what that costs."""

import numpy as np

from tcr_jax.identify.columns import Children, Columns, without


class Graph:
    """Children of every concept; no chain of children returns to its start."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.children: list[Children] = [{} for _ in range(columns.count)]
        self.parents: list[set[int]] = [set() for _ in range(columns.count)]
        self.cost = [columns.cost(j, {}) for j in range(columns.count)]

    @property
    def total(self) -> float:
        return sum(self.cost)

    @property
    def edges(self) -> int:
        return sum(map(len, self.children))

    @property
    def m_kk(self) -> np.ndarray:
        """The effects as a matrix [target, source]."""
        m_kk = np.zeros((len(self.children), len(self.children)))
        for j, children in enumerate(self.children):
            m_kk[list(children), j] = list(children.values())
        return m_kk

    @property
    def near_kk(self) -> np.ndarray:
        """Which concepts are one edge or two apart, in any direction."""
        edge_kk = self.m_kk != 0
        linked_kk = edge_kk | edge_kk.T
        return linked_kk | (linked_kk.astype(np.float32) @ linked_kk > 0)

    def use(self, columns: Columns) -> None:
        """Counts the cost by other columns from here on."""
        self.columns = columns
        for j, children in enumerate(self.children):
            self.assign(j, *columns.refit(j, children))

    def clear(self) -> None:
        """Takes everybody's children; costs are to be set anew."""
        for j in range(len(self.children)):
            self.assign(j, {}, 0.0)

    def assign(self, j: int, children: Children, cost: float) -> None:
        """Gives j these children in place of those it had. The caller keeps the graph acyclic."""
        for i in self.children[j]:
            self.parents[i].discard(j)
        for i in children:
            self.parents[i].add(j)
        self.children[j], self.cost[j] = children, cost

    def try_assign(self, j: int, children: Children, cost: float) -> bool:
        """`assign`, unless it would close a cycle."""
        if not self.above(j).isdisjoint(children):
            return False
        self.assign(j, children, cost)
        return True

    def above(self, j: int) -> set[int]:
        """j, and everything from which a chain of children leads to it."""
        found, waiting = {j}, [j]
        while waiting:
            new = self.parents[waiting.pop()] - found
            found |= new
            waiting.extend(new)
        return found

    def path(self, start: int, end: int) -> list[int]:
        """A chain of children from start to end, both included; empty where there is none."""
        came_from, waiting = {start: start}, [start]
        while waiting and end not in came_from:
            here = waiting.pop()
            new = [i for i in self.children[here] if i not in came_from]
            came_from |= dict.fromkeys(new, here)
            waiting.extend(new)
        if end not in came_from:
            return []
        chain = [end]
        while chain[-1] != start:
            chain.append(came_from[chain[-1]])
        return chain[::-1]

    def without(self, j: int, child: int) -> tuple[Children, float]:
        """j's children but for this one, refitted, and their cost."""
        return self.columns.pruned(j, without(self.children[j], child))

    def state(self, *concepts: int) -> list[tuple[int, Children, float]]:
        """What `restore` puts back; of all concepts where none is named."""
        return [(j, dict(self.children[j]), self.cost[j]) for j in concepts or range(len(self.children))]

    def restore(self, state: list[tuple[int, Children, float]]) -> None:
        for j, children, cost in state:
            self.assign(j, children, cost)
