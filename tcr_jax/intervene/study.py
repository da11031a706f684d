"""The whole study: concepts carried to an earlier layer, edited in held-out text, and edges compared with controls."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from transformers import PreTrainedModel

from tcr_jax.dictionary import preactivate
from tcr_jax.intervene import carry
from tcr_jax.intervene.controls import at_random, cooccurrence, matched
from tcr_jax.intervene.edges import Edge, Intervention, Scales, agreement, fidelity, interventions
from tcr_jax.intervene.overlap import propensities
from tcr_jax.intervene.passages import Passage, concepts, taken
from tcr_jax.intervene.response import Response, respond
from tcr_jax.intervene.sites import EditKind, Site, additions, removals
from tcr_jax.params import Dictionary, Params
from tcr_jax.store import Batch

Carry = Literal["decoder", "means", "regression", "gradient", "pullback"]
CALIBRATION = 8  # training tokens a concept from which its gain is measured
JACOBIANS = 24  # training tokens whose Jacobian is averaged
LEAST_GAIN = 0.25  # a concept that answers less is not pushed harder for it


class Study(NamedTuple):
    """What was measured, by edit ("removal", "addition") and by which edges ("edges", "matched", "random", "own")."""

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
    batches: Iterable[Batch],
    edited_layers: Sequence[int],
    method: Carry = "gradient",
    occurrences: int = 24,
    bystanders: int = 50,
    seed: int = 0,
    on_step: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Study:
    """Removes and adds every edge's source at an earlier layer, and looks at its target `lag` tokens later.

    Tokens are drawn for each source and lag apart: see `overlap`.

    An instantaneous edge cannot be tested this way: all concepts of a token are read from the same x, so an edit of x_t
    that moves two of them tells nothing of which one moved the other.

    Args:
      model: the language model.
      params: dictionary of the residual stream after block `layer`, and the process that the edges are of.
      layer: the dictionary's.
      training: passages from which directions are carried and calibrated.
      heldout: passages of documents that saw no training; every measurement is made in them.
      edges: delayed ones; those of a concept with itself are the set "own", and have no controls.
      batches: all training text at hand, from which it is counted which ids stand behind which sources.
      edited_layers: candidates, before `layer`. Used is that whose removals in the training passages agree best with
        the edges, by rank correlation.
      method: how directions are carried; see `carry`.
      occurrences: tokens for each source and lag, of each edit.
      bystanders: concepts that are edited as well, drawn at random from all that fire, each looked at after the lag of
        an edge drawn at random: the base of `fidelity`.
      seed: of tokens and random controls.
      on_step: told what is being done, and how far it is.

    Returns:
      `Study`; its summary holds `agreement` of every edit and set as `removal_edges_signs`, ..., the fidelity scores,
      the layer used, and of each candidate, in the training passages, `layer_12_signs` and `layer_12_rank`, and the
      quality of the carried directions as `layer_12_gain`, `layer_12_gain_least`, `layer_12_leak`.

    Raises:
      ValueError: there are no edges between concepts, none of their sources fires where it can be edited, a layer is
        not before the dictionary's, or an edge has no control.
    """
    between, own = ([edge for edge in edges if (edge.source == edge.target) == same] for same in (False, True))
    if not between:
        raise ValueError("no delayed edges to intervene on; give a process with lags, or a table of edges")
    if late := [at for at in edited_layers if at >= layer]:
        raise ValueError(f"edited_layer={late[0]}: concepts are read at layer {layer}, so edit at a lower one")
    dictionary, process = params.dictionary, params.process
    horizon = max(edge.lag for edge in edges)
    z_tk, y_tk = concepts(dictionary, heldout), concepts(dictionary, heldout, preactivate)
    scales = _scales(heldout, z_tk, y_tk)
    training_tk = concepts(dictionary, training)
    fires_k = (scales.std_k > 0) & np.any([(z != 0).any(axis=0) for z in training_tk], axis=0)
    random = np.random.default_rng(seed)
    bystander_n = random.permutation(np.flatnonzero(fires_k))[:bystanders]
    lag_n = random.choice([edge.lag for edge in between], len(bystander_n))
    beside = set(zip(bystander_n.tolist(), lag_n.tolist(), strict=True))
    asked = propensities(dictionary, batches, {(edge.source, edge.lag) for edge in edges} | beside)

    counts = cooccurrence(z_tk, [passage.kept_t for passage in heldout], [source for source, _ in asked], horizon)
    weight_lkk = np.asarray(process.b_lkk)
    sets = {
        "edges": between,
        "matched": matched(between, weight_lkk, counts),
        "random": at_random(between, weight_lkk, counts, seed),
    } | ({"own": own} if own else {})

    def measure(
        what: str, passages: Sequence[Passage], sites: Sequence[Site], direction_kd: np.ndarray, edited_layer: int
    ) -> dict[EditKind, Response]:
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

    sites = removals(training, training_tk, asked, count=CALIBRATION, seed=seed)
    if not sites:
        raise ValueError("no source fires in the training passages with room after it; give more of them")
    wanted_n = _wanted(sites)
    summary: dict[str, float] = {}
    carried: dict[int, np.ndarray] = {}
    for at in edited_layers:
        on_step(f"carrying directions to layer {at}", 0, 1)
        direction_kd = _carried(method, model, dictionary, training, sites, at, layer)
        first = measure(f"calibrating at layer {at}", training, sites, direction_kd, at)["removal"]
        direction_kd /= np.clip(_gain(first, wanted_n), LEAST_GAIN, 1 / LEAST_GAIN)[:, None]
        carried[at] = direction_kd
        tried = interventions(_of(between, first), first, process, first.preactivation)
        scores = {name: agreement(tried)[name] for name in ("signs", "rank")}
        scores |= carry.quality(first, wanted_n)._asdict()
        summary |= {f"layer_{at}_{name}": value for name, value in scores.items()}
    beside &= set(first.asked)  # the others have no direction
    used = max(carried, key=lambda at: np.nan_to_num(summary[f"layer_{at}_rank"], nan=-1))
    summary["edited_layer"] = float(used)

    found: dict[tuple[str, str], list[Intervention]] = {}
    drawn = {"count": occurrences, "seed": seed}
    sites = removals(heldout, z_tk, asked, **drawn) + additions(heldout, z_tk, y_tk, asked, **drawn)
    for edit in get_args(EditKind):
        if edit not in {site.edit for site in sites}:
            raise ValueError(f"{edit}: no source qualifies in the held-out passages; give more of them")
    for edit, response in measure("editing held-out text", heldout, sites, carried[used], used).items():
        for name, members in sets.items():
            found[edit, name] = interventions(_of(members, response), response, process, response.preactivation)
            scores = agreement(found[edit, name])
            summary |= {f"{edit}_{name}_{score}": value for score, value in scores.items()}
        if bystanders:
            at_random_n = np.array([row in beside for row in response.asked])
            scores = fidelity(response, process, response.preactivation, scales, at_random_n, seed=seed)
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


def _scales(passages: Sequence[Passage], z_tk: Sequence[np.ndarray], y_tk: Sequence[np.ndarray]) -> Scales:
    """Over kept positions; what is measured is the pre-activation."""
    z_nk, y_nk = (taken(table, [passage.kept_t for passage in passages]) for table in (z_tk, y_tk))
    size_k, fires_k = np.abs(z_nk).sum(axis=0), (z_nk != 0).sum(axis=0)
    return Scales(z_nk.std(axis=0), size_k / len(z_nk), size_k / np.maximum(fires_k, 1), y_nk.std(axis=0))


def _of(edges: Sequence[Edge], response: Response) -> list[Edge]:
    """Those whose source was edited for their lag."""
    edited = set(response.asked)
    return [edge for edge in edges if (edge.source, edge.lag) in edited]


def _wanted(sites: Sequence[Site]) -> np.ndarray:
    """Mean amount that the sites ask of each source and lag, in ascending order."""
    asked_m = np.concatenate([np.stack([site.source_n, site.lag_n], axis=1) for site in sites])
    amount_m = np.concatenate([site.amount_n for site in sites])
    _, at_m, count_n = np.unique(asked_m, axis=0, return_inverse=True, return_counts=True)
    return np.bincount(at_m.reshape(-1), amount_m) / count_n


def _gain(response: Response, wanted_n: np.ndarray) -> np.ndarray:
    """Change of each concept's pre-activation at its own token over what was asked, mean of its rows; 1 without any."""
    latents = response.preactivation.mean_nhk.shape[2]
    rows_k = np.bincount(response.source_n, minlength=latents)
    sum_k = np.bincount(response.source_n, response.raised_n / wanted_n, minlength=latents)
    return np.where(rows_k > 0, sum_k / np.maximum(rows_k, 1), 1)
