"""What comes back when the same thing is learned again: concepts, and edges between concepts that did.

Learned again means from another seed, or from other documents. Nothing here asks whether what returns is true.
"""

from typing import NamedTuple

import numpy as np

from tcr_jax.params import Params, Process
from tcr_jax.scores.matching import UNMATCHED, Matching, match
from tcr_jax.typing import Array

ALIKE = 0.7
"""|cosine| above which two concepts count as the same one."""


class EdgeRecurrence(NamedTuple):
    """Non-zero entries of the first process between matched concepts, and those that the second has with one sign."""

    edges: int  # of the first process, all of them
    comparable: int  # of those, with both ends matched
    back: int  # of those, also in the second process, with the same sign
    expected: float  # `back`, were the second process's edges thrown at random among the matched concepts


def match_concepts(first_kd: Array | np.ndarray, second_kd: Array | np.ndarray) -> Matching:
    """Pairs concepts by the |cosine| of their directions, the greatest in total; similarities keep their sign.

    Args:
      first_kd: decoder rows, of any length but zero.
      second_kd: those of the other dictionary, of the same activations; it may have another number of rows.

    Raises:
      ValueError: the rows are not of one width, or a row is zero or not finite.
    """
    unit = []
    for name, rows_kd in (("first_kd", first_kd), ("second_kd", second_kd)):
        rows_kd = np.asarray(rows_kd, np.float32)
        norm_k = np.linalg.norm(rows_kd, axis=-1)
        bad = np.flatnonzero(~(np.isfinite(norm_k) & (norm_k > 0)))
        if len(bad):
            raise ValueError(f"{name}: row {bad[0]} has norm {norm_k[bad[0]]}; drop concepts without a direction")
        unit.append(rows_kd / norm_k[:, None])
    if unit[0].shape[1] != unit[1].shape[1]:
        raise ValueError(
            f"directions of width {unit[0].shape[1]} and {unit[1].shape[1]}: compare dictionaries of one activation"
        )
    return match(np.clip(unit[0] @ unit[1].T, -1, 1))


def pw_mcc(matching: Matching) -> float:
    """Mean |cosine| over matched pairs: the pairwise dictionary mean correlation coefficient.

    Source: Song et al. 2025, "Mechanistic interpretability should prioritize feature consistency in SAEs"
    (arXiv 2505.20254), section 3.
    """
    return float(np.abs(matching.similarity_k[matching.found_k != UNMATCHED]).mean())


def chosen_pw_mcc(with_chooser: Matching, with_judge: Matching, alike: float = ALIKE) -> dict[str, float]:
    """Of the concepts that a second dictionary has too: how well a third one, which had no say, knows them.

    Args:
      with_chooser: of `match_concepts(first, second)`.
      with_judge: of `match_concepts(first, third)`.
      alike: |cosine| above which a concept is kept.

    Returns:
      `share` of the first's concepts that are kept; `pw_mcc`: their mean |cosine| with their partners in the third, and
      `over_7`: the share of them where it is above .7. Unmatched ones count 0; nan where none is kept.
    """
    kept_k = np.abs(with_chooser.similarity_k) > alike
    judged_k = np.abs(with_judge.similarity_k[kept_k])
    found = {"pw_mcc": judged_k.mean(), "over_7": (judged_k > 0.7).mean()} if kept_k.any() else {}
    return {"share": float(kept_k.mean())} | {name: float(found.get(name, np.nan)) for name in ("pw_mcc", "over_7")}


def edge_recurrence(first: Process, second: Process, matching: Matching, alike: float = ALIKE) -> EdgeRecurrence:
    """Do edges come back? Those of B and M together, self-loops left out; lags that one process lacks never match.

    An entry keeps its meaning where a concept comes back with its sign turned: W_ij becomes s_i s_j W_ij.

    Args:
      first: process over the concepts of the matching's rows.
      second: process over those that they were matched with.
      matching: of `match_concepts(first, second)`.
      alike: |cosine| above which a pair counts as matched.
    """
    kept = np.flatnonzero((np.abs(matching.similarity_k) > alike) & (matching.found_k != UNMATCHED))
    found, sign = matching.found_k[kept], np.sign(matching.similarity_k[kept])
    apart = ~np.eye(len(kept), dtype=bool)
    edges = comparable = back = 0
    expected = 0.0
    second_by_lag = _by_lag(second)
    for lag, weight_kk in _by_lag(first).items():
        edges += int((weight_kk != 0).sum() - (np.diag(weight_kk) != 0).sum())
        ours = np.sign(weight_kk[np.ix_(kept, kept)])[apart]
        comparable += int((ours != 0).sum())
        if lag in second_by_lag and len(ours):
            theirs = np.sign(second_by_lag[lag][np.ix_(found, found)] * np.outer(sign, sign))[apart]
            back += int(((ours != 0) & (ours == theirs)).sum())
            expected += float(sum((ours == s).sum() * (theirs == s).mean() for s in (-1, 1)))
    return EdgeRecurrence(edges, comparable, back, expected)


def stability(first: Params, second: Params) -> dict[str, float]:
    """The figures of two trained models: of their dictionaries, and of edges between concepts matched above `ALIKE`.

    Returns:
      `pw_mcc`; `concepts_over_7`, `concepts_over_9`: share of the first's concepts whose partner's |cosine| is above;
      `edges`, `edges_comparable`: non-zero entries of the first process, and those with both ends matched;
      `edges_back`: share of the comparable ones that the second has with the same sign; `edges_back_by_chance`: that
      share, were its edges thrown at random among the matched concepts. Shares of nothing are nan.
    """
    matching = match_concepts(first.dictionary.decoder_kd, second.dictionary.decoder_kd)
    similarity_k = np.abs(matching.similarity_k)
    edges = edge_recurrence(first.process, second.process, matching)
    return {
        "pw_mcc": pw_mcc(matching),
        "concepts_over_7": float((similarity_k > 0.7).mean()),
        "concepts_over_9": float((similarity_k > 0.9).mean()),
        "edges": float(edges.edges),
        "edges_comparable": float(edges.comparable),
        "edges_back": edges.back / edges.comparable if edges.comparable else float("nan"),
        "edges_back_by_chance": edges.expected / edges.comparable if edges.comparable else float("nan"),
    }


def _by_lag(process: Process) -> dict[int, np.ndarray]:
    """M under 0 and B_l under l, those that there are."""
    delayed = {} if process.b_lkk is None else {lag + 1: np.asarray(b_kk) for lag, b_kk in enumerate(process.b_lkk)}
    return delayed if process.m_kk is None else {0: np.asarray(process.m_kk), **delayed}
