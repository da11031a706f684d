"""The whole study: concepts carried to an earlier layer, edited in held-out text, and edges compared with controls."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from transformers import PreTrainedModel

from tcr_jax.intervene import carry
from tcr_jax.intervene.controls import at_random, cooccurrence, matched
from tcr_jax.intervene.edges import Edge, Intervention, agreement, fidelity, interventions
from tcr_jax.intervene.passages import Passage, concepts
from tcr_jax.intervene.response import Response, respond
from tcr_jax.intervene.sites import Site, additions, removals
from tcr_jax.params import Dictionary, Params

Carry = Literal["decoder", "means", "regression", "gradient", "pullback"]
CALIBRATION = 8  # training tokens a concept from which its gain is measured
JACOBIANS = 24  # training tokens whose Jacobian is averaged
LEAST_GAIN = 0.25  # a concept that answers less is not pushed harder for it


class Study(NamedTuple):
    """What was measured, by edit ("removal", "addition") and by which edges ("edges", "matched", "random")."""

    found: dict[tuple[str, str], list[Intervention]]
    summary: dict[str, float]


def study(
    model: PreTrainedModel,
    params: Params,
    layer: int,
    training: Sequence[Passage],
    heldout: Sequence[Passage],
    edges: Sequence[Edge],
    *,
    edited_layer: int,
    method: Carry = "gradient",
    occurrences: int = 24,
    seed: int = 0,
    on_step: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Study:
    """Removes and adds every edge's source at the edited layer, and looks at its target `lag` tokens later.

    An instantaneous edge cannot be tested this way: all concepts of a token are read from the same x, so an edit of x_t
    that moves two of them tells nothing of which one moved the other.

    Args:
      model: the language model.
      params: dictionary of the residual stream after block `layer`, and the process that the edges are of.
      layer: the dictionary's.
      training: passages from which directions are carried and calibrated.
      heldout: passages of documents that saw no training; every measurement is made in them.
      edges: delayed ones.
      edited_layer: before `layer`.
      method: how directions are carried; see `carry`.
      occurrences: tokens a source, of each edit.
      seed: of tokens and random controls.
      on_step: told what is being done, and how far it is.

    Returns:
      `Study`; its summary holds `agreement` of every edit and set as `removal_edges_signs`, ..., the fidelity scores,
      and the quality of the carried directions as `carry_gain`, `carry_gain_least`, `carry_leak`.

    Raises:
      ValueError: there are no edges, or none of their sources fires where it can be edited.
    """
    if not edges:
        raise ValueError("no delayed edges to intervene on; give a process with lags, or a table of edges")
    dictionary, process = params.dictionary, params.process
    sources, horizon = sorted({edge.source for edge in edges}), max(edge.lag for edge in edges)
    z_tk = concepts(dictionary, heldout)

    def measure(what: str, passages: Sequence[Passage], sites: Sequence[Site], direction_kd: np.ndarray) -> Response:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            on_step(what, done, len(sites))

        return respond(
            model,
            dictionary,
            passages,
            sites,
            direction_kd,
            edited_layer=edited_layer,
            layer=layer,
            horizon=horizon,
            on_site=count,
        )

    on_step("carrying directions", 0, 1)
    settings = {"count": CALIBRATION, "horizon": horizon, "seed": seed}
    sites = removals(training, concepts(dictionary, training), sources, **settings)
    if not sites:
        raise ValueError("no source fires in the training passages with room after it; give more of them")
    direction_kd = _carried(method, model, dictionary, training, sites, edited_layer, layer)
    first = measure("calibrating", training, sites, direction_kd)
    wanted_n = _wanted(first, sites)
    n = np.arange(len(first.source_n))
    gain_n = first.preactivation.mean_nhk[n, 0, first.source_n] / wanted_n
    direction_kd[first.source_n] /= np.clip(gain_n, LEAST_GAIN, 1 / LEAST_GAIN)[:, None]
    summary = {f"carry_{name}": value for name, value in carry.quality(first, wanted_n)._asdict().items()}

    counts = cooccurrence(z_tk, [passage.kept_t for passage in heldout], sources, horizon)
    weight_lkk = np.asarray(process.b_lkk)
    sets = {
        "edges": list(edges),
        "matched": matched(edges, weight_lkk, counts),
        "random": at_random(edges, weight_lkk, counts, seed),
    }
    found: dict[tuple[str, str], list[Intervention]] = {}
    for edit, choose in (("removal", removals), ("addition", additions)):
        sites = choose(heldout, z_tk, sources, count=occurrences, horizon=horizon, seed=seed)
        if not sites:
            raise ValueError(f"{edit}: no source qualifies in the held-out passages; give more of them")
        response = measure(edit, heldout, sites, direction_kd)
        edited = set(response.source_n.tolist())
        for name, members in sets.items():
            measured = [edge for edge in members if edge.source in edited]
            found[edit, name] = interventions(measured, response, process, response.preactivation)
            scores = agreement(found[edit, name])
            summary |= {f"{edit}_{name}_{score}": value for score, value in scores.items()}
        scores = fidelity(response, process, response.preactivation, counts.activity_k, seed=seed)
        summary |= {f"{edit}_{score}": value for score, value in scores.items()}
    return Study(found, summary)


def _carried(
    method: str,
    model: PreTrainedModel,
    dictionary: Dictionary,
    passages: Sequence[Passage],
    sites: Sequence[Site],
    edited_layer: int,
    layer: int,
) -> np.ndarray:
    match method:
        case "decoder":
            return carry.by_decoder(dictionary).copy()
        case "means":
            return carry.by_means(carry.gather_moments(model, dictionary, passages, edited_layer))
        case "regression":
            return carry.by_regression(carry.gather_moments(model, dictionary, passages, edited_layer))
        case "gradient":
            return carry.by_gradient(model, dictionary, passages, sites, edited_layer=edited_layer, layer=layer)
        case "pullback":
            few = sites[:: max(1, len(sites) // JACOBIANS)][:JACOBIANS]
            jacobian_dd = carry.mean_jacobian(model, passages, few, edited_layer=edited_layer, layer=layer)
            return carry.by_pullback(dictionary, jacobian_dd)
    raise ValueError(f"method={method!r} is unknown; choose one of {', '.join(get_args(Carry))}")


def _wanted(response: Response, sites: Sequence[Site]) -> np.ndarray:
    """Mean amount that the sites ask of each of the response's sources."""
    source_m = np.concatenate([site.source_n for site in sites])
    amount_m = np.concatenate([site.amount_n for site in sites])
    at_m = np.searchsorted(response.source_n, source_m)
    return np.bincount(at_m, amount_m, len(response.source_n)) / response.count_n
