"""Places the graph of relations so that it reads from left to right, sources before what they drive."""

from collections.abc import Iterable
from typing import NamedTuple

import networkx as nx


class Place(NamedTuple):
    """Of a node: its layer, counted from the left, and its height, counted from the top."""

    layer: float
    height: float


def layered(edges: Iterable[tuple[int, int, float]], columns: int) -> dict[int, Place]:
    """Layers by longest path, ordered within a layer by the mean height of the neighbours.

    Args:
      edges: (source, target, strength); where edges form a cycle, the weakest that closes it points backwards.
      columns: layers side by side; components narrower than this share a row of the picture.
    """
    graph = nx.Graph()
    forward = nx.DiGraph()
    for source, target, _ in sorted(edges, key=lambda edge: -edge[2]):
        graph.add_edge(source, target)
        forward.add_nodes_from((source, target))
        if not nx.has_path(forward, target, source):
            forward.add_edge(source, target)
    parts = sorted(nx.connected_components(graph), key=lambda part: (-len(part), min(part)))
    places: dict[int, Place] = {}
    used = [0.0] * columns  # height taken so far, of each layer of the picture
    for part in parts:
        layers = _layers(forward.subgraph(part), graph)
        width, height = len(layers), max(map(len, layers))
        if width > columns:
            used += [max(used)] * (width - columns)
            columns = width
        start = min(range(columns - width + 1), key=lambda left: max(used[left : left + width]))
        top = max(used[start : start + width])
        for offset, layer in enumerate(layers):
            for row, node in enumerate(layer):
                places[node] = Place(start + offset, top + row + (height - len(layer)) / 2)
        used[start : start + width] = [top + height + 0.4] * width
    return places


def _layers(forward: nx.DiGraph, graph: nx.Graph, sweeps: int = 8) -> list[list[int]]:
    layers = [sorted(layer) for layer in nx.topological_generations(forward)]
    layer_of = {node: index for index, layer in enumerate(layers) for node in layer}
    for node in reversed(list(nx.topological_sort(forward))):  # sources move next to what they drive
        later = [layer_of[target] for target in forward.successors(node)]
        if later:
            layer_of[node] = min(later) - 1
    layers = [[node for node in layer_of if layer_of[node] == index] for index in range(len(layers))]
    height = {node: row - len(layer) / 2 for layer in layers for row, node in enumerate(sorted(layer))}
    for _ in range(sweeps):
        for index, layer in enumerate(layers):
            wish = {node: sum(height[other] for other in graph[node]) / len(graph[node]) for node in layer}
            layers[index] = sorted(layer, key=lambda node: (wish[node], node))
            height |= {node: row - len(layer) / 2 for row, node in enumerate(layers[index])}
    return layers
