"""What the numbers support and what they do not, in sentences."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tcr_jax.relations.contexts import Example
from tcr_jax.relations.edges import Edge


class Replication(NamedTuple):
    """Relations chosen on one half of the held-out text, and measured on the other, which had no part in the choice."""

    edges: int  # chosen
    chosen: float  # mean share of variance where they were chosen
    repeated: float  # mean share on the other half
    positive: int  # of `edges`, with a positive share on the other half


def replication(edges: Sequence[Edge], repeated: Sequence[float]) -> Replication | None:
    """Of edges with their share on the other half; None where no edge could be measured there."""
    pairs = np.array([(e.share, r) for e, r in zip(edges, repeated, strict=True) if r == r and e.supported])
    if not len(pairs):
        return None
    return Replication(len(pairs), float(pairs[:, 0].mean()), float(pairs[:, 1].mean()), int((pairs[:, 1] > 0).sum()))


def supported(summary: dict[str, Any], edges: Sequence[Edge], examples: Sequence[Example]) -> list[str]:
    """What held-out text supports, strongest statement first."""
    r2 = {predictor["name"]: predictor["r2"] for predictor in summary["predictors"]}
    whole = r2["past and present"]
    if whole > 0:
        said = [
            f"On documents it never saw, the model explains {_percent(whole)} of the variance of its own concepts from "
            "earlier tokens and from the other concepts of the same token. Predicting each concept’s mean explains "
            f"0 % by definition; predicting zero, {_percent(r2['zero'])}."
        ]
    else:
        said = [
            "On documents it never saw, the whole model predicts its concepts no better than their mean does "
            f"(R² {whole:.3g}). What single relations explain is measured against that failing whole and means little."
        ]
    past = r2.get("past, through M", r2.get("past"))
    if past is not None:
        own = r2["own past"]
        said.append(
            "From earlier tokens alone "
            + (f"it explains {_percent(past)}; " if past > 0 else "it does no better than the mean; ")
            + "each concept’s own past, which is mere persistence, "
            + (f"gives {_percent(own)}." if own > 0 else "does no better either." if past <= 0 else "gives nothing.")
        )
    apart = [(edge, example) for edge, example in zip(edges, examples, strict=True) if edge.kind != "self"]
    good = [edge for edge, _ in apart if edge.share > 0 and edge.supported]
    if good:
        said.append(
            f"Of the {len(apart)} relations shown between different concepts, {len(good)} explain a positive share of "
            f"their target’s variance, the strongest {_percent(max(edge.share for edge in good))}."
        )
    elif apart:
        said.append("Not one of the relations shown between different concepts explains a positive share of variance.")
    repeat = summary["replication"]
    if repeat:
        said.append(
            f"Chosen on one half of the held-out text, the best {repeat['edges']} explain {_percent(repeat['chosen'])} "
            f"each there on average and {_percent(repeat['repeated'])} on the other half, where "
            f"{repeat['positive']} of them stay positive."
        )
    return said


def unsupported(summary: dict[str, Any], edges: Sequence[Edge], examples: Sequence[Example]) -> list[str]:
    """What the numbers leave open."""
    r2 = {predictor["name"]: predictor["r2"] for predictor in summary["predictors"]}
    apart = [example for edge, example in zip(edges, examples, strict=True) if edge.kind != "self"]
    bigrams = sum(example.pair_share > 0.5 for example in apart)
    said = ["That one concept makes another fire. Relations are fitted to text; nothing was intervened on."]
    if apart:
        said.append(
            f"That relations are more than token statistics. In {bigrams} of {len(apart)}, one pair of tokens makes up "
            "more than half of the joint firings: there a bigram table would say the same."
        )
        said.append(
            f"The exact size of a share: the relations shown are the best of {summary['edges']} by the same text that "
            "their shares are measured on, and so look better than they are."
        )
    if "present" in r2:
        said.append(
            "The direction of instantaneous relations: squared error alone fits either direction. Concepts of one "
            "token also share its identity, which may be all that M reflects."
        )
    if summary["absolute_ratio"] > 1:
        said.append(
            "A smaller absolute error than predicting zero: the model’s is "
            f"{summary['absolute_ratio']:.2f} times that. On a code of mostly exact zeros every predictor with a "
            "positive R² loses there, so it decides nothing."
        )
    few = sum(not edge.supported for edge in edges)
    if few or summary["unseen"]:
        said.append(
            f"{summary['unseen']} non-zero effects whose concepts never fire in the held-out text, and {few} of those "
            f"shown with fewer than {summary['support']} joint firings."
        )
    return said


def _percent(value: float) -> str:
    return f"{100 * value:.{1 if abs(value) >= 0.01 else 2}f} %".replace("-", "−")
