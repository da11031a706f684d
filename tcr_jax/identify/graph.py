"""An acyclic graph under search: who has which instantaneous children, and what that costs."""

from tcr_jax.identify.columns import Children, Columns


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

    def state(self, *concepts: int) -> list[tuple[int, Children, float]]:
        """What `restore` puts back; of all concepts where none is named."""
        return [(j, dict(self.children[j]), self.cost[j]) for j in concepts or range(len(self.children))]

    def restore(self, state: list[tuple[int, Children, float]]) -> None:
        for j, children, cost in state:
            self.assign(j, children, cost)
