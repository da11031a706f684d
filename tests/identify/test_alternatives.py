"""An estimate's other graphs are those of the truth, although no number of an estimate is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax.ambiguity import ambiguity as of_graph
from tcr_jax.identify import Effect, diagnose, identify
from tcr_jax.identify.alternatives import alternatives, errors_of_all, in_doubt
from tcr_jax.params import Process
from tcr_jax.scores import recovery
from tcr_jax.worlds import World, WorldConfig, ambiguity, make_world, sample


def noisy(world: World, error: float, seed: int) -> tuple[Process, np.ndarray]:
    """The truth's process as an estimate that knows its graph would have it, and B's standard errors."""
    process, rng = world.params.process, np.random.default_rng(seed)
    assert process.b_lkk is not None
    b_lkk = np.asarray(process.b_lkk)
    error_lkk = np.where(b_lkk != 0, error, 0)
    return process.replace(b_lkk=b_lkk + error_lkk * rng.normal(size=b_lkk.shape)), error_lkk


@pytest.mark.parametrize("seed", range(6))
def test_small_errors_change_nothing(seed: int) -> None:
    """With errors far below every effect the same concepts are in doubt as in the truth; exact numbers miss them."""
    world = make_world(WorldConfig(latents=24, parents=2.0, b_low=0.4, seed=seed))
    process, error_lkk = noisy(world, 1e-4, seed)
    true_k, found_k = in_doubt(ambiguity(world), 24), in_doubt(alternatives(process, error_lkk), 24)
    np.testing.assert_array_equal(found_k, true_k)


def test_exact_numbers_miss_what_errors_show() -> None:
    """Two effects of one concept are proportional to those of another: one edge kills both, up to their errors."""
    b_kk, m_kk = np.zeros((4, 4)), np.zeros((4, 4))
    b_kk[[1, 2, 3], 1], b_kk[[0, 2, 3], 0] = (0.3, 0.5, 0.4), (0.3, 0.25, 0.2001)
    error_lkk = np.where(b_kk != 0, 0.01, 0)[None]
    assert not of_graph([b_kk], m_kk).moves
    found = alternatives(Process(b_lkk=jnp.asarray(b_kk)[None], m_kk=jnp.asarray(m_kk), intercept_k=None), error_lkk)
    assert found is not None and [(move.kind, move.source, move.target, move.gap) for move in found.moves] == [
        ("add", 0, 1, 0),
        ("add", 1, 0, 0),
    ]
    np.testing.assert_array_equal(in_doubt(found, 4), [True, True, False, False])


def test_a_wrong_graph_is_in_doubt() -> None:
    """A world whose truth has an equal: the solver takes one of them, and says of the concept that came out wrong."""
    world = make_world(WorldConfig(latents=8, parents=2.0, seed=0))
    assert ambiguity(world).moves
    found = identify(world.batches(100), lags=2)
    fresh = sample(world, jax.random.key(1), 10)
    assert recovery(world.params, found.params, fresh)["z_mcc_worst"] < 0.98
    listed = found.effects()
    assert 0 < sum(effect.in_doubt is True for effect in listed) < len(listed)
    assert "as sparse or sparser within the sampling errors" in str(diagnose(found, world.batches(50)))


def test_a_clear_graph_is_not_in_doubt() -> None:
    """A truth without equals, found: no effect is in doubt, and the diagnosis says that errors were counted."""
    world = make_world(WorldConfig(latents=8, parents=2.0, graph="a5", own_past=True, seed=1))
    assert not ambiguity(world).moves
    found = identify(world.batches(100), lags=2)
    assert not any(effect.in_doubt for effect in found.effects())
    assert "the sampling errors of B taken into account" in str(diagnose(found, world.batches(50)))


def test_errors_of_zeros_follow_target_and_source() -> None:
    """Errors that are a product are completed to a tenth, where they differ by a factor of some twenty."""
    rng = np.random.default_rng(0)
    whole_lkk = np.exp(rng.normal(size=(1, 9, 1)) + rng.normal(size=(1, 1, 9))) * np.ones((2, 1, 1))
    known_lkk = rng.random((2, 9, 9)) < 0.6
    np.testing.assert_allclose(errors_of_all(np.where(known_lkk, whole_lkk, 0)), whole_lkk, rtol=0.1)


def test_without_any_effect_nothing_is_in_doubt_by_error() -> None:
    """No error is known where no effect is."""
    assert not errors_of_all(np.zeros((1, 3, 3))).any()


def test_a_doubtful_effect_says_so() -> None:
    """In its line."""
    assert str(Effect(1, 2, 0, 0.5, 0.1, in_doubt=True)).endswith("in doubt: another graph may be as sparse")
    assert "doubt" not in str(Effect(1, 2, 0, 0.5, 0.1, in_doubt=False))
