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
      edges: lags up to the response's horizon.
      response: says whose response it is, and the doses.
      process: of the same concepts.
      effect: the response's `code` or `preactivation`, of which the targets' changes are taken.

    Raises:
      ValueError: a source was never edited, or a lag was not measured.
    """
    row = {int(source): n for n, source in enumerate(response.source_n)}
    horizon = effect.mean_nhk.shape[1] - 1
    for edge in edges:
        if edge.source not in row:
            raise ValueError(f"source={edge.source} was never edited; give sites for it, or leave out its edges")
        if not 1 <= edge.lag <= horizon:
            raise ValueError(f"lag={edge.lag} was not measured; edit with a horizon of that length, not {horizon}")
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
        for n in [row[edge.source]]
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
    of random ones, do to later concepts); ours, openly. A pair is an edited source, a lag and another concept. Its
    change is |measured| in standard deviations of what is measured, and at random means all pairs of the sources
    `random_n`, so that the base is an average over all of them and no draw. The rankings' first `pairs`, or all that
    they score above zero where those are fewer:

      graph         largest predicted change, |B_l[target, source]| mean |z_source| where it fires / std(z_target)
      activation    largest mean |z| of source times that of target: what a sparse autoencoder alone could rank by
      random        a draw among the pairs of `random_n`: 1 but for chance

    and `targets` is `graph` over all targets of the same sources and lags: does the graph know the target, not just
    which concepts do much? No ranking looks at the response: by dose, a direction that overshoots would lead. `pairs`
    is how many the graph named; where it named none, its scores are nan.

    Noise of the measurement is in all these averages and pulls them towards 1; `..._rms` takes root mean squares in the
    place of means, with the squared standard errors taken away.

    Args:
      response: to edits of all sources.
      process: the graph.
      effect: the response's `code` or `preactivation`.
      scales: of the concepts, in the same text.
      random_n: which of the response's sources were chosen at random.
      pairs: of each ranking, at most.
      seed: of the draw.

    Raises:
      ValueError: the process has no lags, or fewer than `pairs` pairs are at random.
    """
    sources, horizon, k = len(response.source_n), effect.mean_nhk.shape[1] - 1, effect.mean_nhk.shape[2]
    lags = 0 if process.b_lkk is None else min(len(process.b_lkk), horizon)
    if lags == 0:
        raise ValueError("the process has no lags, so it names no later concept; score one with lags")
    usable_nlk = np.broadcast_to((scales.std_k > 0) & (response.count_n > 1)[:, None, None], (sources, lags, k)).copy()
    usable_nlk[np.arange(sources), :, response.source_n] = False
    base_nlk = usable_nlk & np.asarray(random_n)[:, None, None]
    if base_nlk.sum() < pairs:
        raise ValueError(f"{base_nlk.sum()} pairs of sources chosen at random are fewer than pairs={pairs}")
    unit_k, std_k = np.maximum(scales.measured_k, 1e-12), np.maximum(scales.std_k, 1e-12)
    change_nlk = effect.mean_nhk[:, 1 : lags + 1] / unit_k
    size_nlk = np.abs(change_nlk)
    square_nlk = change_nlk**2 - (effect.error_nhk[:, 1 : lags + 1] / unit_k) ** 2
    weight_nlk = np.moveaxis(np.asarray(process.b_lkk)[:lags][:, :, response.source_n], 2, 0)
    rankings = {
        "graph": np.abs(weight_nlk) * scales.strength_k[response.source_n][:, None, None] / std_k,
        "activation": (scales.activity_k[response.source_n][:, None] * scales.activity_k)[:, None].repeat(lags, axis=1),
        "random": np.where(base_nlk, 1 + np.random.default_rng(seed).random(base_nlk.shape), 0),
    }
    first = {name: _first(np.where(usable_nlk, score_nlk, -1), pairs) for name, score_nlk in rankings.items()}
    scores = {name: _mean(size_nlk[at]) / size_nlk[base_nlk].mean() for name, at in first.items()}
    n, lag, _ = first["graph"]
    of_target = [size_nlk[row, at][usable_nlk[row, at]].mean() for row, at in zip(n, lag, strict=True)]
    scores["targets"] = _mean(size_nlk[first["graph"]]) / _mean(np.array(of_target))
    scores["pairs"] = len(n)
    base_square = max(square_nlk[base_nlk].mean(), 1e-30)
    for name, at in first.items():
        scores[f"{name}_rms"] = np.sqrt(np.maximum(_mean(square_nlk[at]), 0) / base_square)
    return {f"fidelity_{name}": float(score) for name, score in scores.items()}


def _first(score_nlk: np.ndarray, pairs: int) -> tuple[np.ndarray, ...]:
    """Where the largest scores are, of those above zero. A source's own pair is never one, so that not all are."""
    pairs = min(pairs, int((score_nlk > 0).sum()))
    return np.unravel_index(np.argpartition(-score_nlk.reshape(-1), pairs)[:pairs], score_nlk.shape)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
