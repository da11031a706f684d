"""Laws of measured responses."""

import jax
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tcr_jax import Params, encode
from tcr_jax.dictionary import preactivate
from tcr_jax.intervene import response as response_module
from tcr_jax.intervene.edited_run import edited_run
from tcr_jax.intervene.passages import Passage
from tcr_jax.intervene.response import Response, respond
from tcr_jax.intervene.sites import Site, removals
from tests.intervene.conftest import LATENTS, LAYER, WIDTH, alike

HORIZON = 2


def measure(
    model: PreTrainedModel, params: Params, passages: list[Passage], sites: list[Site], direction_kd: np.ndarray
) -> Response:
    layers = {"edited_layer": 1, "layer": LAYER}
    return respond(model, params.dictionary, passages, sites, direction_kd, horizon=HORIZON, **layers)["removal"]


def test_means_and_errors_are_those_of_whole_runs(
    model: PreTrainedModel,
    params: Params,
    passages: list[Passage],
    z_tk: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each occurrence run by itself, from the first token on, with and without the edit, gives the same statistics."""
    monkeypatch.setattr(response_module, "ROWS", 4)  # several blocks, the last one padded
    direction_kd = np.random.default_rng(0).normal(size=(LATENTS, WIDTH))
    sites = removals(passages, z_tk, alike((3, 1), (3, 2), (9, 2)), count=3)
    found = measure(model, params, passages, sites, direction_kd)
    changes: dict[tuple[int, int], list] = {(3, 1): [], (3, 2): [], (9, 2): []}
    for site in sites:
        token_bt, span = passages[site.passage].token_t[None], slice(site.position, site.position + HORIZON + 1)
        for source, lag, amount in zip(site.source_n.tolist(), site.lag_n.tolist(), site.amount_n, strict=True):
            step_td = torch.zeros(token_bt.shape[1], WIDTH)
            step_td[site.position] = torch.tensor(amount * direction_kd[source])
            with torch.no_grad():
                runs = [
                    edited_run(model, token_bt, edit, read=(LAYER,), logits=False).x_btd[LAYER][0, span].numpy()
                    for edit in ({1: lambda x, step_td=step_td: x + step_td}, {})
                ]
            z, y = ([np.asarray(f(params.dictionary, x_hd)) for x_hd in runs] for f in (encode, preactivate))
            changes[source, lag].append((z[0] - z[1], y[0] - y[1]))
    assert found.asked == list(changes)
    assert found.count_n.tolist() == [3, 3, 3]
    for n, (source, lag) in enumerate(changes):
        for part, effect in enumerate((found.code, found.preactivation)):
            each_nhk = np.array([change[part] for change in changes[source, lag]])
            np.testing.assert_allclose(effect.mean_nhk[n], each_nhk.mean(0), atol=1e-4)
            np.testing.assert_allclose(effect.error_nhk[n], each_nhk.std(0, ddof=1) / np.sqrt(3), atol=1e-3)
        doses = [change[0][0, source] for change in changes[source, lag]]
        assert found.dose_n[n] == pytest.approx(np.mean(doses), abs=1e-4)


def test_an_edit_of_nothing_does_nothing(
    model: PreTrainedModel, params: Params, passages: list[Passage], z_tk: list[np.ndarray]
) -> None:
    """With no direction nothing changes but the last bits."""
    sites = removals(passages, z_tk, alike((3, HORIZON)), count=4)
    found = measure(model, params, passages, sites, np.zeros((LATENTS, WIDTH)))
    for effect in (found.code, found.preactivation):
        np.testing.assert_allclose(effect.mean_nhk, 0, atol=1e-5)
        np.testing.assert_allclose(effect.error_nhk, 0, atol=1e-5)


def test_one_occurrence_has_no_error(
    model: PreTrainedModel, params: Params, passages: list[Passage], z_tk: list[np.ndarray]
) -> None:
    """Its standard error is infinite, so that it never counts as measured."""
    sites = removals(passages, z_tk, alike((3, HORIZON)), count=1)
    direction_kd = np.asarray(jax.random.normal(jax.random.key(0), (LATENTS, WIDTH)))
    assert np.isinf(measure(model, params, passages, sites, direction_kd).code.error_nhk).all()


def test_the_edited_layer_must_come_first(
    model: PreTrainedModel, params: Params, passages: list[Passage], z_tk: list[np.ndarray]
) -> None:
    """At the dictionary's own layer an edit could reach no other token."""
    sites = removals(passages, z_tk, alike((3, HORIZON)), count=1)
    with pytest.raises(ValueError, match="edited_layer=2 must be before the dictionary's layer 2"):
        respond(
            model,
            params.dictionary,
            passages,
            sites,
            np.zeros((LATENTS, WIDTH)),
            edited_layer=LAYER,
            layer=LAYER,
            horizon=HORIZON,
        )
