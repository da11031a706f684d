"""Diagnostics find what is wrong with a fit, name it, and promise nothing that the theory does not."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from tcr_jax import Params, Process
from tcr_jax.identify import Batches, Diagnostics, Doubtful, NotIdentifiable, diagnose, identify
from tcr_jax.identify.innovations import GAUSSIAN
from tcr_jax.identify.structure import structure
from tcr_jax.worlds import World, WorldConfig, make_world, sample

TRUTH = WorldConfig(latents=8, parents=2.0, graph="a5", own_past=True, context=100, seed=1)


@functools.cache
def world(**changes: object) -> World:
    return make_world(dataclasses.replace(TRUTH, **changes))


def batches(of: World, sequences: int = 600, batch: int = 200) -> Batches:
    return of.batches(sequences, batch=batch)


@functools.cache
def truth() -> Diagnostics:
    return diagnose(world().params, batches(world()))


def with_process(params: Params, **changes: object) -> Params:
    return params.replace(process=params.process.replace(**changes))


def verdict(found: Diagnostics) -> str:
    return "\n".join(found.in_words())


def test_the_truth_passes() -> None:
    """Of a world that meets A1 to A5 every part is guaranteed, and nothing is warned of."""
    found = truth()
    assert not (found.innovations.together or found.innovations.late or found.innovations.mixed)
    assert verdict(found).startswith("guaranteed") and "each concept" in found.in_words()[1]
    assert "fails" not in verdict(found) and "warning" not in verdict(found)
    assert "does not rule out one that is within their sampling errors" in found.in_words()[1]


def test_batches_add_up() -> None:
    """The same data twice: the same figures of twice as many tokens."""
    once, stream = truth().innovations, batches(world())
    twice = diagnose(world().params, lambda: itertools.chain(stream(), stream())).innovations
    np.testing.assert_array_equal(twice.pairs_h, 2 * once.pairs_h)
    for name in set(once._fields) - {"pairs_h", "fitted"}:
        np.testing.assert_allclose(getattr(twice, name), getattr(once, name), rtol=1e-4, atol=1e-5)


def test_correlations_are_those_of_the_innovations() -> None:
    """Against numpy, on the known innovations of the documents."""
    drawn = sample(world(), jax.random.key(0), 200)
    found = diagnose(world().params, lambda: iter([(drawn.x_btd, drawn.document_bt)])).innovations
    eps_btk = np.float64(drawn.eps_btk)[:, 2:]
    covariance_kk = np.einsum("bti,btj->ij", eps_btk[:, 3:], eps_btk[:, :-3]) / 200 / 95
    deviation_k = eps_btk.std((0, 1))
    np.testing.assert_allclose(found.scale_k, deviation_k, rtol=1e-3)
    np.testing.assert_allclose(found.correlation_hkk[3], covariance_kk / deviation_k / deviation_k[:, None], atol=2e-3)


def test_only_pairs_of_one_document_with_full_history_count() -> None:
    """Of 100 tokens 98 have two before them, 97 of which have a scored neighbour, and so on."""
    np.testing.assert_array_equal(truth().innovations.pairs_h, 600 * np.array([98, 97, 96, 95]))


def gaussian_information(exponent: float) -> float:
    gamma = scipy.special.gamma
    return exponent**2 * gamma(2 - 1 / exponent) * gamma(3 / exponent) / gamma(1 / exponent) ** 2


@pytest.mark.parametrize("exponent", [1.2, 1.8, 3.0])
def test_the_information_is_fishers(exponent: float) -> None:
    """Of generalised Gaussians, whose information is known, the score functions see most and never more."""
    of = world(noise="generalised", exponent=exponent)
    mean = diagnose(of.params, batches(of)).innovations.information_k.mean() - 1
    assert 0.6 < mean / (gaussian_information(exponent) - 1) < 1.1


def test_gaussian_innovations_seem_to_have_the_expected_information() -> None:
    """n (information - 1) averages to 54, the sum of `GAUSSIAN`; its deviation here is 12."""
    of = world(noise="gaussian")
    folds = [diagnose(of.params, of.batches(600, 200, fold=fold)).innovations for fold in range(3)]
    excess = np.mean([found.pairs_h[0] * (found.information_k - 1) for found in folds])
    assert excess == pytest.approx(sum(GAUSSIAN), abs=30)
    assert all(found.gaussian_k.all() and not found.expected_k.any() for found in folds)


def test_a_solved_gaussian_world_is_not_identified() -> None:
    """The negative control: no confident wrong answer, and the concepts are named."""
    of = world(noise="gaussian")
    with pytest.warns(Doubtful) as told:
        answer = identify(batches(of), refine=False)
    assert any("58,800 tokens cannot tell 8 of 8" in str(warning.message) for warning in told)
    found = diagnose(answer, batches(of))
    assert str(found).startswith("z is NOT identified")
    assert "Concepts 0, 1, 2, 3, 4 and 3 more" in found.in_words()[0]
    assert "A4 fails" in verdict(found) and "sampling error alone" not in verdict(found)


def test_the_expected_correlation_is_reached() -> None:
    """By what `identify` finds of a Laplace world: 1 - k a / (a^2 - 1) / 2n, with a close to 2."""
    found = diagnose(identify(batches(world()), refine=False), batches(world()))
    a, n = 1.85, 600 * 98
    assert found.innovations.fitted == n and found.settled
    np.testing.assert_allclose(1 - found.innovations.expected_k, 7 * a / (a**2 - 1) / 2 / n, rtol=0.15)
    assert "guaranteed" in verdict(found)


def test_few_tokens_are_warned_of() -> None:
    """Fewer than k^2 / 10, and an ICA that did not settle."""
    found = truth()._replace(innovations=truth().innovations._replace(fitted=5.0), settled=False)
    assert "need about 6 (k^2 / 10)" in verdict(found) and "did not come to rest" in verdict(found)


def test_a_single_token_that_decides_is_warned_of() -> None:
    """One of 10,000 standard deviations of concept 3: no figure can be trusted of it, or of what it moves."""
    x_btd, document_bt = map(np.array, next(batches(world())()))
    x_btd[50, 7] = 1e4 * np.asarray(world().params.dictionary.decoder_kd[3])
    assert "hold over 10% of the variance of concepts 0, 1, 3 " in verdict(diagnose(world().params, x_btd, document_bt))


def test_a_mixture_is_named() -> None:
    """Two concepts of a world without effects, turned by 45 degrees: uncorrelated still, but not independent."""
    of = world(parents=1.0, instant_parents=0.0)
    turn_kk = np.eye(8)
    turn_kk[np.ix_([2, 5], [2, 5])] = np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    dictionary, process = of.params.dictionary, of.params.process
    scale_k = diagnose(of.params, batches(of)).innovations.scale_k
    turn_kk = scale_k[:, None] * turn_kk / scale_k
    turned = of.params.replace(
        dictionary=dictionary.replace(
            encoder_kd=turn_kk @ dictionary.encoder_kd, decoder_kd=np.linalg.inv(turn_kk).T @ dictionary.decoder_kd
        ),
        process=process.replace(b_lkk=turn_kk @ np.asarray(process.b_lkk) @ np.linalg.inv(turn_kk)),
    )
    found = diagnose(turned, batches(of))
    assert found.innovations.mixed == [(2, 5)] and not found.innovations.together
    assert "mixtures of each other, (2, 5)" in verdict(found) and verdict(found).startswith("not guaranteed: A1 fails")


def test_missing_effects_are_named() -> None:
    """Without one entry of B the innovation depends on the source's past; without one of M, on its innovation."""
    process = world().params.process
    target, source = np.argwhere(process.m_kk)[0].tolist()
    without_m = with_process(world().params, m_kk=np.asarray(process.m_kk) * (np.asarray(process.m_kk) == 0))
    together = diagnose(without_m, batches(world())).innovations.together
    assert (min(target, source), max(target, source)) in together
    b_lkk = np.array(process.b_lkk)
    b_lkk[0, 3, 3] = 0
    found = diagnose(with_process(world().params, b_lkk=b_lkk), batches(world()))
    assert found.innovations.late[0] == (1, 3, 3)
    assert "3 with 3 (1 before)" in verdict(found)


def test_a_swinging_scale_is_told_from_a_mixture() -> None:
    """Scales that drift over documents correlate squares, of different tokens as much as of the same."""
    of = world(drift=0.5)
    found = diagnose(of.params, batches(of))
    assert len(found.innovations.swinging) == 8 and not found.innovations.mixed
    assert "the scales of 8 swing" in verdict(found)
    assert "is not known, as A1 fails" in verdict(found)  # drift costs accuracy that no sampling error tells of


def test_a_code_that_is_not_linear_has_no_guarantee() -> None:
    """TopK codes are measured all the same; a concept that never moves is named."""
    params = world().params
    encoder_kd = np.array(params.dictionary.encoder_kd)
    encoder_kd[6] = 0
    dictionary = params.dictionary.replace(activation="topk", topk=3, encoder_kd=jnp.asarray(encoder_kd))
    still = params.replace(dictionary=dictionary, process=params.process.replace(b_lkk=None, m_kk=None))
    found = diagnose(still, batches(world()))
    assert found.in_words()[0].startswith("not guaranteed: linear reading")
    assert "activation=topk" in verdict(found) and "concepts 6 never move" in verdict(found)
    assert "of the activations' variance lies outside the concepts" in verdict(found)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"m_kk": 0.5 * np.eye(8, k=1) + 0.5 * np.eye(8, k=-1)}, "M has a cycle"),
        ({"b_lkk": np.full((2, 8, 8), 0.01)}, "too few entries of B are zero"),
        ({"b_lkk": 1.5 * np.eye(8)[None], "m_kk": None}, "A3 fails: the process grows by 1.500"),
        ({"m_kk": 0.1 * np.tril(np.ones((8, 8)), -1)}, "A5 fails (a concept has 7 children) and so does A6"),
        ({"m_kk": 0.1 * np.kron(np.eye(2), np.tril(np.ones((4, 4)), -1))}, "up to the 2 blocks of M, the largest of 4"),
        ({"b_lkk": np.zeros((1, 8, 8)), "m_kk": 0.5 * np.eye(8, k=-1)}, "are as sparse or sparser: 0 -> 1 (remove)"),
    ],
)
def test_the_structure_of_the_process_is_told(changes: dict[str, np.ndarray], says: str) -> None:
    """Cycles, density, stability, A5, A6, and other graphs as sparse."""
    assert says in verdict(truth()._replace(structure=structure(with_process(world().params, **changes))))


@pytest.mark.parametrize("unit", [1e-20, 1e19])
def test_the_unit_of_the_activations_does_not_matter(unit: float) -> None:
    """Squares that float32 cannot hold change no figure but the scales."""
    dictionary, (x_btd, document_bt) = world().params.dictionary, next(batches(world())())
    scaled = diagnose(world().params, x_btd * jnp.float32(unit), document_bt).innovations
    found = diagnose(world().params, x_btd, document_bt).innovations
    assert dictionary.mean_d.max() == 0
    for name in set(found._fields) - {"scale_k"}:
        np.testing.assert_allclose(getattr(scaled, name), getattr(found, name), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scaled.scale_k / unit, found.scale_k, rtol=1e-4)


def test_nothing_is_guaranteed_of_what_never_moves() -> None:
    """A2 fails and names the concepts, whatever else holds, as here independent innovations without effects."""
    drawn, dictionary = sample(world(), jax.random.key(0), 200), world().params.dictionary
    still = Params(
        dictionary=dictionary.replace(encoder_kd=jnp.asarray(dictionary.encoder_kd).at[5].set(0)),
        process=Process(b_lkk=None, m_kk=None, intercept_k=None),
    )
    words = verdict(diagnose(still, drawn.eps_btk @ dictionary.decoder_kd, drawn.document_bt))
    assert words.startswith("not guaranteed: A2 fails") and "concepts 5 never move" in words


@pytest.mark.parametrize("wrong", [np.nan, 0.0])
def test_figures_that_are_none_guarantee_nothing(wrong: float) -> None:
    """Whatever went wrong in measuring, it is no evidence of innovations that are not Gaussian."""
    figures = truth().innovations
    broken = figures._replace(information_k=figures.information_k * wrong, scale_k=figures.scale_k * np.nan)
    assert verdict(truth()._replace(innovations=broken)).startswith("z is NOT identified")


def test_more_concepts_than_channels_are_told() -> None:
    """A2 fails: many codes have the same activations."""
    of = world(width=4, condition=0.0)
    assert "A2 fails: 8 concepts, 4 channels" in verdict(truth()._replace(structure=structure(of.params)))


def test_data_that_cannot_tell_are_refused() -> None:
    """Documents of one token, numbers that are none, and channels of something else."""
    x_btd = np.ones((200, 100, 8), np.float32)
    with pytest.raises(NotIdentifiable, match="no two tokens have the 2 earlier ones"):
        diagnose(world().params, x_btd, np.arange(20_000).reshape(200, 100))
    with pytest.raises(NotIdentifiable, match="not finite"):
        diagnose(world().params, np.full_like(x_btd, np.nan))
    with pytest.raises(NotIdentifiable, match="activations have 7 channels and the parameters 8"):
        diagnose(world().params, x_btd[..., :7])
