"""Effects that a process predicts, beside those that interventions in the language model measured."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from tcr_jax.params import Process

if TYPE_CHECKING:  # the measurements need torch, reading them does not
    from tcr_jax.intervene.response import Effect, Response

CLEAR = 3.0
"""|effect| over its standard error from which an effect counts as measured."""


class Edge(NamedTuple):
    """A delayed edge: one unit of `source` changes `target` by `effect`, `lag` tokens later."""

    source: int
    target: int
    lag: int
    effect: float  # B_l[target, source]


class Intervention(NamedTuple):
    """What was predicted of one edge and what the language model did; all changes are means over occurrences."""

    source: int
    target: int
    lag: int
    effect: float  # the edge's
    dose: float  # change of the source at the edited token
    direct: float  # effect * dose: what the edge alone predicts
    process: float  # what the whole process predicts from the changes of all concepts at the edited token
    measured: float  # change of the target, `lag` tokens later
    error: float  # its standard error
    occurrences: int


class Scales(NamedTuple):
    """Of all concepts in the text in which they are edited."""

    std_k: np.ndarray  # standard deviation of z
    activity_k: np.ndarray  # mean |z|
    strength_k: np.ndarray  # mean |z| where it fires
    measured_k: np.ndarray  # standard deviation of what is measured: z or the pre-activation


def interventions(
    edges: Sequence[Edge], response: "Response", process: Process, effect: "Effect"
) -> list[Intervention]:
    """Looks the edges up in a measured response.

    Args:
      edges: delayed ones.
      response: has a row for the source and lag of each; says the doses.
      process: of the same concepts.
      effect: the response's `code` or `preactivation`, of which the targets' changes are taken.

    Raises:
      ValueError: a source was never edited at tokens for an edge's lag.
    """
    row = {asked: n for n, asked in enumerate(response.asked)}
    horizon = effect.mean_nhk.shape[1] - 1
    for edge in edges:
        if (edge.source, edge.lag) not in row:
            raise ValueError(
                f"source={edge.source} was never edited for lag={edge.lag}; give sites for it, or leave out its edges"
            )
    dose_n = response.dose_n
    predicted_nhk = follow(process, response.code.mean_nhk[:, 0], horizon)
    return [
        Intervention(
            *edge,
            dose=float(dose_n[n]),
            direct=float(edge.effect * dose_n[n]),
            process=float(predicted_nhk[n, edge.lag, edge.target]),
            measured=float(effect.mean_nhk[n, edge.lag, edge.target]),
            error=float(effect.error_nhk[n, edge.lag, edge.target]),
            occurrences=int(response.count_n[n]),
        )
        for edge in edges
        for n in [row[edge.source, edge.lag]]
    ]


def follow(process: Process, change_nk: np.ndarray, horizon: int) -> np.ndarray:
    """What changes at one token become: D_0 = change, D_h = (I - M)^{-1} sum_l B_l D_{h-l}, [n, horizon + 1, k]."""
    n, k = change_nk.shape
    b_lkk = np.zeros((0, k, k)) if process.b_lkk is None else np.asarray(process.b_lkk, np.float64)
    reduced_kk = np.eye(k) if process.m_kk is None else np.eye(k) - np.asarray(process.m_kk, np.float64)
    later_hnk: list[np.ndarray] = [np.asarray(change_nk, np.float64)]
    for h in range(1, horizon + 1):
        past_kn = np.zeros((k, n))
        for lag in range(1, min(h, len(b_lkk)) + 1):
            past_kn += b_lkk[lag - 1] @ later_hnk[h - lag].T
        later_hnk.append(np.linalg.solve(reduced_kk, past_kn).T)
    return np.stack(later_hnk, axis=1)


def agreement(found: Sequence[Intervention]) -> dict[str, float]:
    """How well predictions agree with measurements.

      signs         share of edges whose measured change has the sign of the edge's own prediction
      precision     the sign is right and the change over `CLEAR` standard errors
      clear         the change is over them, with either sign
      signs_clear   `signs` among those
      rank          Spearman's correlation of predicted and measured changes; `rank_size`: of their absolute values
      carried       slope of measured on predicted changes: how much of the effect goes through the edited token
      ..._process   the same for the whole process's prediction

    Raises:
      ValueError: there are no edges.
    """
    if not found:
        raise ValueError("no edges were measured; give at least one whose source fires in the held-out text")
    measured, error = (np.array([getattr(edge, name) for edge in found]) for name in ("measured", "error"))
    direct, process = (np.array([getattr(edge, name) for edge in found]) for name in ("direct", "process"))
    clear = np.abs(measured) > CLEAR * error
    right = np.sign(direct) == np.sign(measured)
    return {
        "edges": float(len(found)),
        "signs": float(right.mean()),
        "precision": float((right & clear).mean()),
        "clear": float(clear.mean()),
        "signs_clear": float(right[clear].mean()) if clear.any() else float("nan"),
        "rank": _spearman(direct, measured),
        "rank_size": _spearman(np.abs(direct), np.abs(measured)),
        "carried": float(direct @ measured / max(direct @ direct, 1e-30)),
        "signs_process": float((np.sign(process) == np.sign(measured)).mean()),
        "rank_process": _spearman(process, measured),
    }


def fidelity(
    response: "Response",
    process: Process,
    effect: "Effect",
    scales: Scales,
    random_n: np.ndarray,
    *,
    pairs: int = 100,
    seed: int = 0,
) -> dict[str, float]:
    """Causal Fidelity Score: mean |change| of the pairs that a ranking names, over that of pairs at random.

    After arXiv 2603.10377, whose formula was not at hand (it compares what edits of concepts that the graph names, and
    of random ones, do to later concepts); ours, openly. A pair is a row of the response, which is an edited source and
    a lag, and another concept. Its change is |measured| in standard deviations of what is measured, and at random means
    all pairs of the rows `random_n`, so that the base is an average over all of them and no draw. The rankings' first
    `pairs`, or all that they score above zero where those are fewer:

      graph         largest predicted change, |B_l[target, source]| mean |z_source| where it fires / std(z_target)
      activation    largest mean |z| of source times that of target: what a sparse autoencoder alone could rank by
      random        a draw among the pairs of `random_n`: 1 but for chance

    and `targets` is `graph` over all targets of the same sources and lags: does the graph know the target, not just
    which concepts do much? No ranking looks at the response: by dose, a direction that overshoots would lead. `pairs`
    is how many the graph named; where it named none, its scores are nan.

    Noise of the measurement is in all these averages and pulls them towards 1; `..._rms` takes root mean squares in the
    place of means, with the squared standard errors taken away.

    Args:
      response: to edits of all sources, at the lags that they are asked about.
      process: the graph.
      effect: the response's `code` or `preactivation`.
      scales: of the concepts, in the same text.
      random_n: which of the response's rows are of sources chosen at random.
      pairs: of each ranking, at most.
      seed: of the draw.

    Raises:
      ValueError: the process has no lags, or fewer than `pairs` pairs are at random.
    """
    lags = 0 if process.b_lkk is None else len(process.b_lkk)
    if lags == 0:
        raise ValueError("the process has no lags, so it names no later concept; score one with lags")
    row_n, source_n, lag_n = np.arange(len(response.source_n)), response.source_n, response.lag_n
    usable_nk = (scales.std_k > 0) & ((response.count_n > 1) & (lag_n <= lags))[:, None]
    usable_nk[row_n, source_n] = False
    base_nk = usable_nk & np.asarray(random_n)[:, None]
    if base_nk.sum() < pairs:
        raise ValueError(f"{base_nk.sum()} pairs of sources chosen at random are fewer than pairs={pairs}")
    unit_k, std_k = np.maximum(scales.measured_k, 1e-12), np.maximum(scales.std_k, 1e-12)
    change_nk = effect.mean_nhk[row_n, lag_n] / unit_k
    size_nk = np.abs(change_nk)
    square_nk = change_nk**2 - (effect.error_nhk[row_n, lag_n] / unit_k) ** 2
    weight_nk = np.asarray(process.b_lkk)[np.minimum(lag_n, lags) - 1, :, source_n]
    rankings = {
        "graph": np.abs(weight_nk) * scales.strength_k[source_n][:, None] / std_k,
        "activation": scales.activity_k[source_n][:, None] * scales.activity_k,
        "random": np.where(base_nk, 1 + np.random.default_rng(seed).random(base_nk.shape), 0),
    }
    first = {name: _first(np.where(usable_nk, score_nk, -1), pairs) for name, score_nk in rankings.items()}
    scores = {name: _mean(size_nk[at]) / size_nk[base_nk].mean() for name, at in first.items()}
    rows = first["graph"][0]
    of_target = [size_nk[row][usable_nk[row]].mean() for row in rows]
    scores["targets"] = _mean(size_nk[first["graph"]]) / _mean(np.array(of_target))
    scores["pairs"] = len(rows)
    base_square = max(square_nk[base_nk].mean(), 1e-30)
    for name, at in first.items():
        scores[f"{name}_rms"] = np.sqrt(np.maximum(_mean(square_nk[at]), 0) / base_square)
    return {f"fidelity_{name}": float(score) for name, score in scores.items()}


def _first(score_nk: np.ndarray, pairs: int) -> tuple[np.ndarray, ...]:
    """Where the largest scores are, of those above zero. A source's own pair is never one, so that not all are."""
    pairs = min(pairs, int((score_nk > 0).sum()))
    return np.unravel_index(np.argpartition(-score_nk.reshape(-1), pairs)[:pairs], score_nk.shape)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
