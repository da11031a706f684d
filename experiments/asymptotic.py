"""The search for M alone: from estimates with the errors that so many tokens leave, drawn and not simulated.

    python -m experiments.asymptotic [--world=paper] [--dim=1024] [--tokens=2600000] [--seed=10 --seed=11]

What the direct solver knows of a world before it looks for M are the unmixing and the autoregression. Their errors have
a known law (tcr_jax/identify/evidence.py), so that no data and no ICA are needed to see what the search makes of them:
minutes at 1,024 concepts in the place of an hour, in little memory. This is no measurement of the solver: it takes for
granted that ICA finds everything and that errors are normal, and is slightly off where tokens are few. It shows how the
answer depends on tokens, world and search; `experiments.synthetic` says what is reached.

A line a seed: scores of the edges of M and of B at the search's own zeros, and the seconds of the search.
"""

import numpy as np
from absl import flags

from experiments import config_flags, launch
from experiments.machine import timed
from tcr_jax.config import ConfigError
from tcr_jax.identify.relate import relate
from tcr_jax.identify.stages import Stages
from tcr_jax.identify.unmix import Unmixed
from tcr_jax.scores import edges
from tcr_jax.worlds import PRESETS, World, WorldConfig, make_world

_PRESET = flags.DEFINE_enum("preset", "realistic", sorted(PRESETS), "world to start from; other flags replace fields")
_TOKENS = flags.DEFINE_integer("tokens", 200_000, "time steps that the estimates are from", 1)
_INFORMATION = flags.DEFINE_float("information", 1.87, "of an innovation: Laplace with smooth scores 1.87", 1.01)
config_flags.define(WorldConfig)
flags.DEFINE_alias("world", "preset")
flags.DEFINE_alias("dim", "latents")
_SEED = flags.DEFINE_multi_integer("seed", [10, 11, 12, 13, 14], "of world and errors", 0, allow_override=True)

DOUBLINGS = 12
"""Of the tokens over which the past is summed up: 4,096 in all."""


def truth(world: World) -> tuple[np.ndarray, np.ndarray]:
    """B and M in units of the innovations' standard deviations."""
    ratio_kk = world.scale_k / world.scale_k[:, None]
    return np.stack([b.toarray() for b in world.b]) * ratio_kk, world.m.toarray() * ratio_kk


def past_covariance(world: World) -> np.ndarray:
    """Of z' = (I - M) z over the lags, where B' = B (I - M)^{-1}: [l k, l k]."""
    b_lkk, m_kk = truth(world)
    lags, k, _ = b_lkk.shape
    keep_kk = np.eye(k) - m_kk
    if world.config.start == "uniform":  # the first token is all the past there is; uniform(0, 1) has variance 1 / 12
        return keep_kk @ np.diag(1 / 12 / world.scale_k**2) @ keep_kk.T
    step_pp = np.eye(lags * k, k=-k)
    step_pp[:k] = np.concatenate(list(b_lkk @ np.linalg.inv(keep_kk)), axis=1)
    covariance_pp = np.zeros_like(step_pp)
    covariance_pp[:k, :k] = np.eye(k)
    for _ in range(DOUBLINGS):
        covariance_pp = covariance_pp + step_pp @ covariance_pp @ step_pp.T
        step_pp = step_pp @ step_pp
    return covariance_pp


def estimated(world: World, tokens: float, information: float, rng: np.random.Generator) -> Unmixed:
    """As `unmix` would find it from so many tokens with full history, in coordinates in which U = I is true."""
    b_lkk, m_kk = truth(world)
    lags, k, _ = b_lkk.shape
    past_pp = past_covariance(world)
    lower_pp = np.linalg.cholesky(np.linalg.inv(past_pp))
    phi_kp = np.concatenate(list(b_lkk @ np.linalg.inv(np.eye(k) - m_kk)), axis=1)
    phi_kp = phi_kp + rng.normal(size=phi_kp.shape) @ lower_pp.T / np.sqrt(tokens * information)
    pair = np.linalg.cholesky(np.linalg.inv([[information, 1], [1, information]]) / tokens)
    above_ckk = np.triu(np.tensordot(pair, rng.normal(size=(2, k, k)), 1), 1)
    unmixing_kk = np.eye(k) + above_ckk[0] + above_ckk[1].T
    covariance_ff = np.block(
        [[np.eye(k) + phi_kp @ past_pp @ phi_kp.T, phi_kp @ past_pp], [past_pp @ phi_kp.T, past_pp]]
    )
    return Unmixed(
        mean_d=np.zeros(k),
        to_white_kd=np.eye(k),
        from_lagged_kf=np.concatenate([unmixing_kk, -unmixing_kk @ phi_kp], axis=1),
        mean_f=np.zeros((lags + 1) * k),
        covariance_ff=covariance_ff,
        information_k=np.full(k, information),
        stein_k=np.full(k, information),
        tokens=float(tokens),
        settled=True,
    )


def _check(config: WorldConfig) -> None:
    if config.width not in (0, config.latents) or config.observation_noise or config.noise != "laplace" or config.drift:
        raise ConfigError(
            "errors are known for Laplace innovations of one scale, as many channels as concepts, and no noise: choose "
            "--noise=laplace, --drift=0, --width=0 and --observation_noise=0"
        )
    if config.start != "stationary" and (config.start, config.lags, config.context) != ("uniform", 1, 2):
        raise ConfigError(
            f"start={config.start}: the past's covariance is known of stationary documents, and of pairs whose first "
            "token is uniform; choose --start=stationary, or --start=uniform with --lags=1 and --context=2"
        )


def main() -> None:
    fields = {**PRESETS[_PRESET.value], **config_flags.given(WorldConfig)}
    for seed in _SEED.value:
        world = make_world(WorldConfig(**{**fields, "seed": seed}))
        config = world.config
        _check(config)
        scored = _TOKENS.value * (config.context - config.lags) / config.context
        unmixed = estimated(world, scored, _INFORMATION.value, np.random.default_rng([seed, 4]))
        seconds, found = timed(relate, unmixed, seed, False, 0, Stages(None, {}), lambda line: None)
        b_lkk, m_kk = truth(world)
        of_m, of_b = edges(m_kk, found.m_kk), edges(b_lkk, found.b_lkk)
        print(
            f"seed {seed}: M F1 {of_m.f1:.4f} (precision {of_m.precision:.3f}, recall {of_m.recall:.3f}), "
            f"B F1 {of_b.f1:.3f} ({of_b.precision:.3f}, {of_b.recall:.3f}), {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    launch.run(main)
