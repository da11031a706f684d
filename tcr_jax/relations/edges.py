"""Every relation with what held-out text says about it, and the ranking of the best supported ones."""

import dataclasses
from collections.abc import Iterator, Sequence
from operator import itemgetter

import jax
import numpy as np

from tcr_jax.params import Process
from tcr_jax.relations.baselines import mean, variance
from tcr_jax.relations.evidence import Evidence, Pairs


@dataclasses.dataclass(frozen=True)
class Edge:
    """One non-zero entry of B (lag >= 1) or of M (lag 0), from concept `source` to concept `target`."""

    kind: str  # "delayed", "instantaneous" or "self"
    source: int
    target: int
    lag: int
    weight: float  # the raw entry
    coefficient: float  # weight * std(z_source) / std(z_target)
    share: float  # of the target's variance; negative where the edge hurts on held-out text
    lift: float  # P(both fire) / (P(source fires) P(target fires)): 1 where they are independent
    joint: int  # scored tokens at which target fires and source fired `lag` tokens earlier
    supported: bool  # enough joint firings for the numbers above to mean something


@dataclasses.dataclass(frozen=True)
class Strength:
    """All relations of one lag together, self-loops left out of `count` and `mass`."""

    lag: int
    count: int  # non-zero entries
    zeros: float  # share of the entries that are exactly zero
    mass: float  # sum of |standardised coefficient| over concepts that vary on held-out text


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The best supported relations of each kind, and all relations summed by lag."""

    delayed: list[Edge]
    instantaneous: list[Edge]
    loops: list[Edge]
    strengths: list[Strength]
    unseen: int  # non-zero entries between concepts of which one never fires in held-out text
    support: int  # joint firings from which an edge counts as supported

    @property
    def edges(self) -> list[Edge]:
        return [*self.delayed, *self.instantaneous, *self.loops]


def rank(process: Process, evidence: Evidence, count: int, support: int = 10) -> Ranking:
    """Ranks relations by the share of the target's held-out variance that each explains alone.

    The share is the rise of the target's mean squared innovation when this one contribution c = W_ij z_j(t-l) is
    replaced by its mean, over var(z_i): (2 cov(eps_i, c) + var(c)) / var(z_i). (Ranked by coefficient, concepts that
    hardly ever fire would lead.) Edges with fewer than `support` joint firings come last.

    Args:
      process: the relations.
      evidence: from `gather` with the same process.
      count: edges kept of each kind: delayed, instantaneous, self-loops.
      support: joint firings from which an edge counts as supported.
    """
    kept: dict[str, list[Edge]] = {"delayed": [], "instantaneous": [], "self": []}
    strengths, unseen = [], 0
    for lag, weight_kk, pairs in _matrices(process, evidence):
        table = _Table(lag, weight_kk, pairs, evidence, np.nonzero(weight_kk), support)
        strengths.append(table.strength())
        unseen += table.unseen
        for kind, on_diagonal in (("self", True), ("instantaneous" if lag == 0 else "delayed", False)):
            kept[kind] = sorted(kept[kind] + table.best(kind, on_diagonal, count), key=_order)[:count]
    return Ranking(kept["delayed"], kept["instantaneous"], kept["self"], strengths, unseen, support)


def shares(process: Process, evidence: Evidence, edges: Sequence[Edge]) -> list[float]:
    """The share of variance that each of `edges` explains in other evidence; nan where a concept is silent there."""
    found: dict[Edge, float] = {}
    for lag, weight_kk, pairs in _matrices(process, evidence):
        of_lag = [edge for edge in edges if edge.lag == lag]
        at = np.array([(edge.target, edge.source) for edge in of_lag], int).reshape(-1, 2).T
        table = _Table(lag, weight_kk, pairs, evidence, tuple(at), 0)
        measured = zip(table.target_e.tolist(), table.source_e.tolist(), table.share_e.tolist(), strict=True)
        by_pair = {(target, source): share for target, source, share in measured}
        found |= {edge: by_pair.get((edge.target, edge.source), float("nan")) for edge in of_lag}
    return [found[edge] for edge in edges]


def _order(edge: Edge) -> tuple[bool, float]:
    return not edge.supported, -edge.share


def _matrices(process: Process, evidence: Evidence) -> Iterator[tuple[int, np.ndarray, Pairs]]:
    if process.m_kk is not None and evidence.present is not None:
        yield 0, np.asarray(process.m_kk, np.float32), evidence.present
    if process.b_lkk is not None and evidence.past is not None:
        for index, b_kk in enumerate(process.b_lkk):
            pairs: Pairs = jax.tree.map(itemgetter(index), evidence.past)
            yield index + 1, np.asarray(b_kk, np.float32), pairs


class _Table:
    """The numbers of some entries of one matrix, as parallel arrays over edges `e`; silent concepts are left out."""

    def __init__(
        self,
        lag: int,
        weight_kk: np.ndarray,
        pairs: Pairs,
        evidence: Evidence,
        at: tuple[np.ndarray, ...],
        support: int,
    ) -> None:
        tokens = int(evidence.tokens)
        target_variance_k, source_variance_k = variance(evidence.z, tokens), variance(pairs.source, tokens)
        target_e, source_e = at
        seen_e = (target_variance_k[target_e] > 0) & (source_variance_k[source_e] > 0)
        self.lag, self.unseen, self.entries = lag, int((~seen_e).sum()), weight_kk.size
        self.target_e, self.source_e = at = target_e[seen_e], source_e[seen_e]
        self.weight_e = weight_kk[at].astype(np.float64)
        target_variance_e = target_variance_k[self.target_e]
        source_variance_e = source_variance_k[self.source_e]
        eps_k, source_k = mean(evidence.errors["past and present"], tokens), mean(pairs.source, tokens)
        covariance_e = pairs.cross_kk[at] / tokens - eps_k[self.target_e] * source_k[self.source_e]
        gain_e = 2 * self.weight_e * covariance_e + self.weight_e**2 * source_variance_e
        self.share_e = gain_e / target_variance_e
        self.coefficient_e = self.weight_e * np.sqrt(source_variance_e / target_variance_e)
        self.joint_e = pairs.joint_kk[at]
        expected_e = evidence.fires_k[self.target_e] * (pairs.fires_k[self.source_e] / tokens)
        self.lift_e = self.joint_e / expected_e
        self.supported_e = self.joint_e >= support

    def strength(self) -> Strength:
        apart_e = self.target_e != self.source_e
        zeros = 1 - (len(self.weight_e) + self.unseen) / self.entries
        mass = float(np.abs(self.coefficient_e[apart_e]).sum())
        return Strength(self.lag, int(apart_e.sum()), zeros, mass)

    def best(self, kind: str, on_diagonal: bool, count: int) -> list[Edge]:
        chosen = np.flatnonzero((self.target_e == self.source_e) == on_diagonal)
        best_first = np.lexsort((-self.share_e[chosen], ~self.supported_e[chosen]))[:count]
        return [
            Edge(
                kind=kind,
                source=int(self.source_e[e]),
                target=int(self.target_e[e]),
                lag=self.lag,
                weight=float(self.weight_e[e]),
                coefficient=float(self.coefficient_e[e]),
                share=float(self.share_e[e]),
                lift=float(self.lift_e[e]),
                joint=int(self.joint_e[e]),
                supported=bool(self.supported_e[e]),
            )
            for e in chosen[best_first]
        ]
