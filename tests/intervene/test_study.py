"""Laws of the whole study, on language models that are made up: what they answer is known."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedModel

from tcr_jax import Params
from tcr_jax.intervene import study as study_module
from tcr_jax.intervene.carry import by_decoder
from tcr_jax.intervene.edges import Edge, follow
from tcr_jax.intervene.passages import Passage
from tcr_jax.intervene.response import Effect, Response
from tcr_jax.intervene.study import Study, study
from tcr_jax.store import Batch
from tests.intervene.conftest import LATENTS, LAYER

SOURCES = (3, 8, 20)


def answers(params: Params, gain: float, obeys: bool) -> Callable:
    """In the place of `respond`: an edit of length a along a decoder row moves its concept by `gain` a.

    What follows an edit of layer 1 is what the process says, and noise with `obeys` false or at another layer.
    """

    def respond_alike(dictionary, sites, direction_kd, edited_layer, horizon):  # type: ignore
        asked: dict[tuple[int, int], list[float]] = {}
        for site in sites:
            for source, lag, amount in zip(site.source_n.tolist(), site.lag_n.tolist(), site.amount_n, strict=True):
                asked.setdefault((source, lag), []).append(amount)
        source_n, lag_n = np.array(sorted(asked)).T
        amounts = [np.array(asked[pair]) for pair in sorted(asked)]
        length_k = np.linalg.norm(direction_kd, axis=1) / np.linalg.norm(by_decoder(dictionary), axis=1)
        change_nk = np.zeros((len(source_n), LATENTS))
        change_nk[np.arange(len(source_n)), source_n] = (
            gain * np.array([a.mean() for a in amounts]) * length_k[source_n]
        )
        mean_nhk = follow(params.process, change_nk, horizon)
        if not (obeys and edited_layer == 1):
            mean_nhk[:, 1:] = np.random.default_rng(0).normal(size=mean_nhk[:, 1:].shape)
        effect = Effect(mean_nhk, np.full_like(mean_nhk, 1e-6))
        return Response(source_n, lag_n, np.array([len(a) for a in amounts]), effect, effect)

    def respond(model, dictionary, passages, sites, direction_kd, *, edited_layer, layer, horizon, on_site):  # type: ignore
        alike = {edit: [site for site in sites if site.edit == edit] for edit in ("removal", "addition")}
        settings = (direction_kd, edited_layer, horizon)
        return {edit: respond_alike(dictionary, members, *settings) for edit, members in alike.items() if members}

    return respond


@pytest.fixture(scope="module")
def edges(params: Params) -> list[Edge]:
    """All edges of some sources with other concepts."""
    b_lkk = np.asarray(params.process.b_lkk)
    return [
        Edge(source, target, lag + 1, float(b_lkk[lag, target, source]))
        for source in SOURCES
        for lag, target in zip(*map(np.ndarray.tolist, np.nonzero(b_lkk[:, :, source])), strict=True)
        if target != source
    ]


@pytest.fixture
def answered() -> list[Response]:
    """What the language model has answered, in order."""
    return []


@pytest.fixture
def run(
    model: PreTrainedModel,
    params: Params,
    passages: list[Passage],
    edges: list[Edge],
    batches: list[Batch],
    answered: list[Response],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Study]:
    def run(
        gain: float = 1.0,
        obeys: bool = True,
        layers: tuple[int, ...] = (1,),
        tested: Sequence[Edge] = edges,
        bystanders: int = 50,
    ) -> Study:
        answer = answers(params, gain, obeys)

        def respond(*args: Any, **settings: Any) -> dict[str, Response]:
            found = answer(*args, **settings)
            answered.extend(found.values())
            return found

        monkeypatch.setattr(study_module, "respond", respond)
        given = (model, params, LAYER, passages[:20], passages[20:], tested)
        return study(*given, batches=batches, edited_layers=layers, method="decoder", bystanders=bystanders)

    return run


def test_a_model_that_follows_the_process(run: Callable[..., Study]) -> None:
    """Predictions are the measurements for the edges; controls, which the process leaves at zero, are not predicted."""
    summary = run().summary
    for edit in ("removal", "addition"):
        assert summary[f"{edit}_edges_signs_process"] == 1
        assert summary[f"{edit}_edges_rank_process"] == pytest.approx(1)
        assert summary[f"{edit}_edges_signs"] > 0.95 > 0.75 > summary[f"{edit}_matched_signs"]
        assert summary[f"{edit}_fidelity_graph"] > 2


def test_a_model_that_does_not(run: Callable[..., Study]) -> None:
    """Signs are right by chance, and the graph names no more than chance does."""
    summary = run(obeys=False).summary
    for edit in ("removal", "addition"):
        assert 0.25 < summary[f"{edit}_edges_signs"] < 0.75
        assert 0.7 < summary[f"{edit}_fidelity_graph"] < 1.4


def test_a_model_that_answers_half_is_asked_for_twice(run: Callable[..., Study]) -> None:
    """Directions are calibrated on training text, so that doses are those that were asked for."""
    half, whole = run(gain=0.5), run(gain=1.0)
    assert half.summary["layer_1_gain"] == pytest.approx(0.5) and whole.summary["layer_1_gain"] == pytest.approx(1)
    for first, second in zip(half.found["removal", "edges"], whole.found["removal", "edges"], strict=True):
        assert first.dose == pytest.approx(second.dose) and first.dose < 0


def test_every_edge_has_controls_of_its_source_and_lag(
    run: Callable[..., Study], params: Params, edges: list[Edge]
) -> None:
    """As many matched and random ones, of weight zero."""
    b_lkk, found = np.asarray(params.process.b_lkk), run().found
    for edit in ("removal", "addition"):
        assert [tuple(edge[:4]) for edge in found[edit, "edges"]] == [tuple(edge) for edge in edges]
        for name in ("matched", "random"):
            for edge, control in zip(edges, found[edit, name], strict=True):
                assert (control.source, control.lag) == (edge.source, edge.lag)
                assert b_lkk[control.lag - 1, control.target, control.source] == 0


def test_the_layer_is_that_which_training_text_bears_out(run: Callable[..., Study]) -> None:
    """Of several, the one at which removals in the training passages agree with the edges."""
    for layers in ((0, 1), (1, 0)):
        summary = run(layers=layers).summary
        assert summary["edited_layer"] == 1
        assert summary["layer_1_rank"] > 0.9 > 0.5 > summary["layer_0_rank"]
        assert summary["removal_edges_signs"] > 0.95


def test_own_past_is_a_set_by_itself(run: Callable[..., Study], edges: list[Edge]) -> None:
    """Edges of concepts with themselves change nothing of the others' figures, and have no controls."""
    own = [Edge(source, source, 1, 0.5) for source in SOURCES]
    alone, beside = run(), run(tested=[*edges, *own])
    assert [edge[:4] for edge in beside.found["removal", "own"]] == own
    assert {name for _, name in beside.found} == {"edges", "matched", "random", "own"}
    for key, found in alone.found.items():
        assert found == beside.found[key]


def test_bystanders_are_edited_for_one_lag_each(
    run: Callable[..., Study], edges: list[Edge], answered: list[Response]
) -> None:
    """That of some edge; the edges' own sources are edited for the lags of their edges."""
    late = [edge for edge in edges if edge.lag == 2]
    run(tested=late, bystanders=9)
    asked = {(edge.source, edge.lag) for edge in late}
    assert len(answered) == 3  # calibration, removals, additions
    for response in answered:
        assert asked <= set(response.asked) and len(asked) + 6 <= len(response.asked) <= len(asked) + 9
        assert set(response.lag_n.tolist()) == {2}


def test_scales_are_of_kept_positions(passages: list[Passage], z_tk: list[np.ndarray], y_tk: list[np.ndarray]) -> None:
    """Counted by hand; what is measured is y, of which this dictionary's z is the positive part."""
    scales = study_module._scales(passages, z_tk, y_tk)
    z_nk = np.concatenate([z[passage.kept_t] for z, passage in zip(z_tk, passages, strict=True)])
    np.testing.assert_allclose(scales.std_k, z_nk.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scales.activity_k, np.abs(z_nk).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scales.strength_k, [np.abs(z[z != 0]).mean() for z in z_nk.T], rtol=1e-4)
    half = LATENTS // 2  # directions and their opposites
    y_nk = z_nk[:, :half] - z_nk[:, half:]
    np.testing.assert_allclose(scales.measured_k, np.tile(y_nk.std(axis=0), 2), rtol=1e-3)


def test_no_edges_and_unknown_methods_are_named(
    model: PreTrainedModel, params: Params, passages: list[Passage], edges: list[Edge], batches: list[Batch]
) -> None:
    """Nothing to test, nothing but own past, no such way to carry a direction, or a layer that is too late."""
    given = (model, params, LAYER, passages, passages)
    with pytest.raises(ValueError, match="no delayed edges to intervene on"):
        study(*given, [Edge(1, 1, 1, 0.5)], batches=batches, edited_layers=(1,))
    with pytest.raises(ValueError, match="method='magic' is unknown; choose one of decoder, means"):
        study(*given, edges, batches=batches, edited_layers=(1,), method="magic")  # type: ignore
    with pytest.raises(ValueError, match=f"edited_layer={LAYER}: concepts are read at layer {LAYER}, so edit"):
        study(*given, edges, batches=batches, edited_layers=(1, LAYER))
