"""Estimates drawn with their asymptotic errors: the law that the direct solver takes them to have."""

from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.asymptotic import estimated, past_covariance, truth
from tcr_jax.identify.relate import relate
from tcr_jax.identify.stages import Arrays, Stages
from tcr_jax.identify.unrestricted import unrestricted
from tcr_jax.worlds import PRESETS, WorldConfig, make_world, sample
from tests import programs


@pytest.mark.parametrize("name", ["realistic", "paper"])
def test_errors_are_those_that_the_solver_expects(name: str) -> None:
    """(estimated B' - true B') / standard error has mean square 1 for every lag."""
    world = make_world(WorldConfig(**{**PRESETS[name], "latents": 24}))
    b_lkk, m_kk = truth(world)
    true_lkk = b_lkk @ np.linalg.inv(np.eye(24) - m_kk)
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(20):
        found = unrestricted(estimated(world, 1e6, 1.87, rng))
        squares.append(np.square((found.b_lkk - true_lkk) / found.error_lkk))
    np.testing.assert_allclose(np.mean(squares, axis=(0, 2, 3)), 1, atol=0.1)


@pytest.mark.parametrize(("seed", "false", "more"), [(0, 1, 0), (1, 12, 2)])
def test_errors_of_a_rough_unmixing_are_no_effects(seed: int, false: int, more: int) -> None:
    """Innovations of information 1.012: the search has false effects; the refinement's errors lead to a better one."""
    world = make_world(WorldConfig(**{**PRESETS["realistic"], "latents": 24, "seed": seed}))
    true_kk = truth(world)[1] != 0
    unmixed = estimated(world, 2e5, 1.012, np.random.default_rng(seed))
    once_kk, twice_kk = (
        relate(unmixed, 0, refined, 0, Stages(None, {}), lambda line: None).m_kk != 0 for refined in (False, True)
    )
    assert (once_kk & ~true_kk).sum() >= false
    assert not (twice_kk & ~true_kk).any()
    assert (twice_kk & true_kk).sum() >= (once_kk & true_kk).sum() + more


class Searched(Stages):
    """The search has found this, on data that the model does not quite fit: so there is no second one."""

    def __init__(self, m_kk: np.ndarray) -> None:
        self.found = {"m_kk": m_kk, "misfit": np.array(1.1)}

    def run(self, name: str, compute: object) -> Arrays:
        return self.found


def test_an_effect_that_the_unmixings_error_explains_is_left_out() -> None:
    """The largest error of the unmixing, taken for an effect; all true effects stay."""
    world = make_world(WorldConfig(**{**PRESETS["realistic"], "latents": 24}))
    true_kk = truth(world)[1]
    unmixed = estimated(world, 2e5, 1.012, np.random.default_rng(0))
    reached_kk = np.linalg.inv(np.eye(24) - np.abs(true_kk)) > 0  # [target, source]; the other way would be a cycle
    error_kk = np.where(reached_kk | reached_kk.T, 0, unmixed.from_lagged_kf[:, :24])
    place = np.unravel_index(np.abs(error_kk).argmax(), error_kk.shape)
    with_error_kk = true_kk.copy()
    with_error_kk[place] = error_kk[place]
    found = relate(unmixed, 0, True, 0, Searched(with_error_kk), lambda line: None)
    assert abs(error_kk[place]) > 0.03
    np.testing.assert_array_equal(found.m_kk != 0, true_kk != 0)


@pytest.mark.parametrize("name", ["realistic", "paper"])
def test_the_past_is_that_of_simulated_data(name: str) -> None:
    """Covariance of z' over the lags, against 200,000 simulated tokens."""
    world = make_world(WorldConfig(**{**PRESETS[name], "latents": 6, "noise_spread": 2.0}))
    config = world.config
    drawn = sample(world, jax.random.key(0), 200_000 // config.context)
    z_btk = np.asarray(drawn.z_btk, np.float64) / world.scale_k
    reduced_btk = z_btk @ (np.eye(6) - truth(world)[1]).T
    last = config.context - config.lags
    past_np = np.concatenate([reduced_btk[:, lag : lag + last] for lag in reversed(range(config.lags))], axis=-1)
    found_pp = np.cov(past_np.reshape(-1, config.lags * 6).T)
    scale_pp = np.sqrt(np.outer(np.diag(found_pp), np.diag(found_pp)))
    np.testing.assert_allclose(past_covariance(world) / scale_pp, found_pp / scale_pp, atol=0.03)


def test_a_line_a_seed(cache: Path) -> None:
    """Many tokens, few concepts: every edge. Worlds whose errors are not known are refused."""
    command = ("-m", "experiments.asymptotic", "--dim=12", "--seed=3")
    done = programs.run(programs.environment(cache), *command, "--tokens=2000000")
    assert done.stdout.startswith("seed 3: M F1 1.0000 (precision 1.000, recall 1.000), B F1 "), done.stderr
    for flag, says in (("--observation_noise=0.1", "no noise"), ("--start=uniform", "--lags=1 and --context=2")):
        refused = programs.run(programs.environment(cache), *command, flag)
        assert refused.returncode != 0 and says in refused.stderr
