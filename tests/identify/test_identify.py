"""From activations to the process behind them, end to end, on small worlds."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import (
    Config,
    decode,
    encode,
    explain,
    impulse_response,
    innovations,
    is_acyclic,
    make_mesh,
    simulate,
)
from tcr_jax.identify import Batches, Doubtful, Identified, NotIdentifiable, identify
from tcr_jax.scores import recovery
from tcr_jax.train_step import init_state, train_step
from tcr_jax.worlds import PRESETS, WorldConfig, make_world, sample

CONFIG = WorldConfig(latents=12, parents=4.0, instant_parents=0.5)
WORLD = make_world(CONFIG)
SAMPLE = sample(WORLD, jax.random.key(9), 16)


def stream(fold: int = 0) -> Batches:
    """64,000 tokens, in batches of one shape for all tests."""
    return WORLD.batches(64, batch=16, fold=fold)


@pytest.fixture(scope="module")
def found() -> Identified:
    return identify(stream())


def effects(of: Identified) -> tuple[np.ndarray, np.ndarray]:
    """(M and B of every lag, in the true order and signs, and their standard errors): units are the same."""
    similarity_kk = np.asarray(WORLD.params.dictionary.decoder_kd @ of.params.dictionary.decoder_kd.T)
    order_k = np.abs(similarity_kk).argmax(axis=1)
    assert sorted(order_k) == list(range(12))
    sign_k = np.sign(similarity_kk[range(12), order_k])
    process = of.params.process
    both_lkk = np.concatenate([np.asarray(process.m_kk)[None], process.b_lkk])[:, order_k][:, :, order_k]
    error_lkk = np.concatenate([of.m_error_kk[None], of.b_error_lkk])[:, order_k][:, :, order_k]
    return both_lkk * sign_k[:, None] * sign_k, error_lkk


TRUE_LKK = np.concatenate([np.asarray(WORLD.params.process.m_kk)[None], WORLD.params.process.b_lkk])


def surprise(of: Identified) -> float:
    """Mean square of the errors of all true effects, in standard errors: 1 where the standard errors are right."""
    found_lkk, error_lkk = effects(of)
    true = TRUE_LKK != 0
    return float(np.mean(((found_lkk - TRUE_LKK)[true] / error_lkk[true]) ** 2))


def assert_same(one: Identified, other: Identified, tolerance: float) -> None:
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_the_world_is_recovered(found: Identified) -> None:
    """Every concept, and exactly the true edges of M and of B."""
    scores = recovery(WORLD.params, found.params, SAMPLE)
    assert scores["z_mcc_worst"] > 0.999
    assert scores["M_f1"] == scores["B_f1"] == 1
    assert scores["M_relative_error"] < 0.03 and scores["B_relative_error"] < 0.03


def test_standard_errors_are_the_spread_of_the_estimates(found: Identified) -> None:
    """Over independent data: errors are as large as said, and no larger for M than for B."""
    every = [found, *(identify(stream(fold)) for fold in (1, 2))]
    assert 0.75 < np.mean([surprise(of) for of in every]) < 1.35


def test_the_answer_is_ordinary_parameters(found: Identified) -> None:
    """Rows of unit norm, an exact inverse, an acyclic M; it simulates, responds, and explains like any other model."""
    dictionary, process = found.params.dictionary, found.params.process
    np.testing.assert_allclose(jnp.linalg.norm(dictionary.decoder_kd, axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(dictionary.encoder_kd @ dictionary.decoder_kd.T, np.eye(12), atol=1e-4)
    assert is_acyclic(process.m_kk)
    x_td, document_t = SAMPLE.x_btd[0], SAMPLE.document_bt[0]
    z_tk = encode(dictionary, x_td)
    np.testing.assert_allclose(decode(dictionary, z_tk), x_td, atol=1e-3)
    eps_tk = innovations(process, z_tk, document_t)
    np.testing.assert_allclose(simulate(process, eps_tk), z_tk, atol=1e-2)
    assert impulse_response(process, 3, 5).direct_hk.shape[1] == 12
    explanation = explain(process, z_tk, document_t, 50, 3)
    assert float(explanation.prediction) == pytest.approx(float(z_tk[50, 3] - eps_tk[50, 3]), abs=1e-3)


def test_innovations_are_white_and_independent(found: Identified) -> None:
    """On fresh data: mean zero, uncorrelated with each other, their squares and their past."""
    z_btk = encode(found.params.dictionary, SAMPLE.x_btd)
    eps_btk = jax.vmap(innovations, in_axes=(None, 0, 0))(found.params.process, z_btk, SAMPLE.document_bt)
    eps_nk = np.asarray(eps_btk[:, 2:].reshape(-1, 12))
    tolerance = 5 / np.sqrt(len(eps_nk))
    np.testing.assert_allclose(eps_nk.mean(axis=0) / eps_nk.std(axis=0), 0, atol=tolerance)
    np.testing.assert_allclose(np.corrcoef(eps_nk.T), np.eye(12), atol=tolerance)
    np.testing.assert_allclose(np.corrcoef(eps_nk[1:].T, eps_nk[:-1].T)[:12, 12:], 0, atol=tolerance)
    np.testing.assert_allclose(np.corrcoef(eps_nk.T**2), np.eye(12), atol=2 * tolerance)


@pytest.mark.parametrize(
    "settings",
    [{"lags": 0}, {"lags": 1.5}, {"latents": 0}, {"latents": 4.0}, {"draws": -1}, {"seed": 1.5}, {"seed": None}],
)
def test_numbers_of_things_are_whole(settings: dict[str, Any]) -> None:
    """And as many as needed."""
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=f"^{name}={value} must be a whole number, at least"):
        identify(stream(), **settings)


@pytest.mark.parametrize(("later", "which"), [(3, "fewer"), (5, "more")])
def test_a_stream_of_another_length_is_refused(later: int, which: str) -> None:
    """Between the moments and the residuals: those that are missing would be whatever memory holds."""
    whole: list[int] = []

    def changing() -> Iterator[tuple[jax.Array, jax.Array]]:
        yield from WORLD.batches(16 * (later if whole else 4), batch=16)()
        whole.append(1)

    with pytest.raises(NotIdentifiable, match=f"{which} tokens than the 63,872 of its first reading"):
        identify(changing, memory=1)


def test_damage_that_was_mended_is_forgotten(tmp_path: Path) -> None:
    """No stage is kept of data that cannot be worked with: the same call goes on once they are mended."""
    for number in (0, 3):
        with pytest.raises(NotIdentifiable, match="NaN"):
            identify(damaged(nan=number), workdir=tmp_path)
        assert not list(tmp_path.glob("*.npz"))


def test_an_answer_is_short_in_a_session(found: Identified) -> None:
    """Sizes, not arrays."""
    sizes = f"{np.count_nonzero(found.params.process.b_lkk)} delayed and {np.count_nonzero(found.params.process.m_kk)}"
    assert repr(found) == f"<Identified: 12 concepts, 2 lags, {sizes} instantaneous effects, from 63,872 tokens>"


def test_effects_come_clearest_first(found: Identified) -> None:
    """One for every entry of B and M that is not zero, with its standard error."""
    listed = found.effects()
    process = found.params.process
    assert len(listed) == np.count_nonzero(process.b_lkk) + np.count_nonzero(process.m_kk)
    for effect in listed[:5]:
        matrix_kk = process.m_kk if effect.lag == 0 else process.b_lkk[effect.lag - 1]
        assert effect.effect == matrix_kk[effect.target, effect.source]
    clearness = [abs(effect.effect) / effect.standard_error for effect in listed]
    assert clearness == sorted(clearness, reverse=True)


def test_without_draws_there_are_no_standard_errors() -> None:
    """None, and NaN in the list of effects, the largest first; the estimate is there all the same."""
    plain = identify(stream(), refine=False)
    assert plain.b_error_lkk is None and plain.m_error_kk is None
    listed = plain.effects()
    assert np.isnan([effect.standard_error for effect in listed]).all()
    sizes = np.abs([effect.effect for effect in listed])
    assert (np.diff(sizes) <= 0).all() and np.ptp(sizes) > 0
    assert recovery(WORLD.params, plain.params, SAMPLE)["z_mcc_worst"] > 0.99


def test_short_documents_bias_nothing() -> None:
    """Documents of 8 tokens: the effects are off by no more than their standard errors say."""
    short = make_world(dataclasses.replace(CONFIG, context=8))
    assert surprise(identify(short.batches(8000, batch=2000))) < 1.8


def test_a_stream_beyond_memory_gives_the_same(found: Identified) -> None:
    """Read anew for every pass, to the same answer bit by bit."""
    assert_same(found, identify(stream(), memory=1), 0)


def test_devices_do_not_matter(found: Identified) -> None:
    """Batches split over eight devices, of any number of sequences: the same answer but for rounding."""
    mesh, uneven = make_mesh(Config(batch=8)), WORLD.batches(64, batch=20)
    assert_same(found, identify(stream(), mesh=mesh), 1e-3)
    assert_same(identify(uneven), identify(uneven, mesh=mesh), 1e-3)
    with pytest.raises(ValueError, match="it needs one named data"):
        identify(stream(), mesh=jax.make_mesh((8,), ("model",)))


def test_a_killed_run_goes_on(found: Identified, tmp_path: Path) -> None:
    """Wherever it was stopped, the answer is that of a run that was not; and another call's stages are not used."""
    assert_same(found, identify(stream(), workdir=tmp_path), 0)
    for later in (["sparsest"], ["unmixed", "sparsest"], ["components", "unmixed", "sparsest"]):
        for name in later:
            (tmp_path / f"{name}.npz").unlink()
        assert_same(found, identify(stream(), workdir=tmp_path), 0)
    with pytest.raises(NotIdentifiable, match="lags: 2 -> 1"):
        identify(stream(), lags=1, workdir=tmp_path)
    with pytest.raises(NotIdentifiable, match="data: "):
        identify(stream(fold=1), workdir=tmp_path)


def test_what_has_a_mean_gets_an_intercept() -> None:
    """The paper's generator starts away from zero: z' is found, up to a constant, and innovations have mean zero."""
    world = make_world(WorldConfig(**PRESETS["paper"], latents=12))
    answer = identify(world.batches(24_000, batch=12_000), lags=1, refine=False)
    fresh = sample(world, jax.random.key(1), 12_000)
    z_btk = encode(answer.params.dictionary, fresh.x_btd)
    zprime_nk, true_nk = (
        np.asarray(z_btk - z_btk @ params.process.m_kk.T)[:, 1]
        for params, z_btk in ((answer.params, z_btk), (world.params, fresh.z_btk))
    )
    assert np.abs(np.corrcoef(true_nk.T, zprime_nk.T)[:12, 12:]).max(axis=1).min() > 0.999
    eps_btk = jax.vmap(innovations, in_axes=(None, 0, 0))(answer.params.process, z_btk, fresh.document_bt)
    eps_nk = np.asarray(eps_btk[:, 1])
    np.testing.assert_allclose(eps_nk.mean(axis=0) / eps_nk.std(axis=0), 0, atol=0.06)
    assert np.abs(answer.params.process.intercept_k).max() > 0.1


def test_the_answer_fits_the_train_step(found: Identified) -> None:
    """As the parameters of a `TrainState` whose configuration has its sizes; `test_run` saves and trains on."""
    config = Config(latents=12, topk=12, lags=2, activation="identity", bias=False, batch=8)
    state = init_state(config, 12, found.params.dictionary.mean_d, jnp.ones(())).replace(params=found.params)
    after, _ = jax.eval_shape(functools.partial(train_step, config=config), state, *next(stream()()))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


def damaged(**changes: Any) -> Batches:
    """The stream with one thing wrong: a channel's value, or the documents."""

    def changed() -> Iterator[tuple[jax.Array, jax.Array]]:
        for number, (x_btd, document_bt) in enumerate(stream()()):
            if "constant" in changes:
                x_btd = x_btd.at[..., changes["constant"]].set(0.1)
            if number == changes.get("nan"):
                x_btd = x_btd.at[3, 7, 5].set(jnp.nan)
            yield x_btd, jnp.broadcast_to(changes.get("document", document_bt), document_bt.shape)

    return changed


def explosive() -> np.ndarray:
    """What grows by a hundredth a token, in the stream's shape."""
    x_btd = np.random.default_rng(0).laplace(size=(16, 1000, 12))
    for t in range(1, 1000):
        x_btd[:, t] += 1.01 * x_btd[:, t - 1]
    return x_btd


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (damaged(nan=0), {}, "1 activations are NaN .* channels 5; the first is nan, at sequence 3, token 7"),
        (damaged(nan=3), {}, "the first is nan, at sequence 51, token 7, channel 5"),
        (damaged(constant=4), {"latents": 12}, "rank 11: channels 4 are constant; lower latents to 11 or less"),
        (damaged(document=-1), {}, "no token is kept"),
        (stream(), {"latents": 13}, "latents=13 .* 12 channels"),
        (damaged(document=jnp.arange(16_000).reshape(16, 1000)), {}, "^0 tokens have 2 .* need 72 at the very least"),
        (np.zeros((4, 12)), {}, r"shape .* \(of one sequence x\[None\]\)"),
        (explosive(), {}, "the past of 2 lags is singular: .* grow without end .* quarter .* times as large"),
        (np.zeros((4, 2, 12)), {}, "sequences of 2 tokens are too short for lags=2"),
    ],
    ids=["nan", "late nan", "constant", "dropped", "narrow", "few", "shape", "explosive", "short"],
)
def test_data_that_cannot_bear_it_are_explained(data: Any, settings: dict[str, Any], message: str) -> None:
    """What is wrong with them, with the numbers, and what to do."""
    with pytest.raises(NotIdentifiable, match=message):
        identify(data, **settings)


def test_noise_on_the_activations_makes_no_false_effects() -> None:
    """With the errors of sampling alone more than half of the edges would be false; the misfit is told, and counted."""
    noisy = make_world(dataclasses.replace(CONFIG, condition=1.0, observation_noise=0.1))
    with pytest.warns(Doubtful, match="the model does not fit"):
        found = identify(noisy.batches(64, batch=16))
    scores = recovery(noisy.params, found.params, sample(noisy, jax.random.key(7), 20))
    assert found.misfit > 1.3 and scores["B_precision"] > 0.8 and scores["B_recall"] > 0.9
