"""One frozen configuration of a synthetic world: every knob, typed, explained, and checked on creation."""

import dataclasses
from typing import Any, Literal

from tcr_jax.knobs import ConfigError, check_knobs, knob

Graph = Literal["random", "a5", "a6", "hubs", "chain", "paper"]
Noise = Literal["laplace", "generalised", "student", "gaussian"]
Start = Literal["stationary", "rest", "uniform"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """Every knob of a world. Raises `ConfigError` on creation where the values cannot work together.

    An edge's size is uniform between its bounds and its sign is fair; then B as a whole is scaled down until the
    process grows by at most `radius` a token. A concept's own past is a parent like any other unless `own_past`.

    >>> WorldConfig(latents=256).lags
    2
    """

    # Graph
    latents: int = knob(64, "concepts (k)", at_least=1)
    lags: int = knob(2, "tokens back that a delayed effect reaches (l)", at_least=1)
    graph: Graph = knob("random", "structure of M (a5: one child at most; a6: blocks) and, for hubs and paper, of B")
    parents: float = knob(4.0, "mean number of delayed parents of a concept at each lag", at_least=0)
    own_past: bool = knob(False, "every concept is one of its own delayed parents, at each lag")
    instant_parents: float = knob(
        1.0, "mean number of instantaneous parents (a chain has one each, a5 and hubs somewhat fewer)", at_least=0
    )
    block: int = knob(8, "concepts of a block, for graph=a6", at_least=1)
    b_low: float = knob(0.2, "least size of a delayed effect, before B is scaled", at_least=0)
    b_high: float = knob(0.5, "largest size of a delayed effect, before B is scaled", at_least=0)
    m_low: float = knob(0.3, "least size of an instantaneous effect", at_least=0)
    m_high: float = knob(0.8, "largest size of an instantaneous effect", at_least=0)
    radius: float = knob(0.9, "growth a token to which B is scaled down where it is above it", over=0)
    # Innovations
    noise: Noise = knob("laplace", "family of the innovations")
    exponent: float = knob(1.8, "for noise=generalised, density exp(-|eps|^exponent): 1 is Laplace, 2 Gaussian", over=0)
    degrees: float = knob(5.0, "degrees of freedom, for noise=student", over=2)
    noise_scale: float = knob(1.0, "standard deviation of an innovation", over=0)
    noise_spread: float = knob(1.0, "factor s: concepts' own scales are log-uniform from 1/s to s", at_least=1)
    drift: float = knob(0.0, "amplitude of a slow sine over documents in each innovation's log scale", at_least=0)
    # Observation
    width: int = knob(0, "channels of an activation (d); 0: as many as concepts", at_least=0)
    condition: float = knob(10.0, "condition number of A; 1: orthogonal; 0: Gaussian columns", at_least=0)
    observation_noise: float = knob(0.0, "share of the activations' variance that is white noise", at_least=0)
    # Documents
    context: int = knob(1000, "tokens of a document", at_least=1)
    start: Start = knob("stationary", "first tokens: of a process long under way, at rest, or uniform(0, 1)")
    seed: int = knob(0, "seed of the truth and of the data", at_least=0)

    def __post_init__(self) -> None:
        check_knobs(self)
        k = self.latents
        for low, high in (("b_low", "b_high"), ("m_low", "m_high")):
            if getattr(self, low) > getattr(self, high):
                raise ConfigError(f"{low}={getattr(self, low)} is more than {high}={getattr(self, high)}; swap them")
        if self.parents > k:
            raise ConfigError(f"parents={self.parents} is more than latents={k}; lower it or add latents")
        if self.own_past and self.parents < 1:
            raise ConfigError(f"parents={self.parents} leaves no room for own_past; give at least 1")
        most = {"a5": 1.0, "a6": (min(self.block, k) - 1) / 2}.get(self.graph, max(k - 1, 1) / 2)
        if self.graph not in ("chain", "paper") and self.instant_parents > most:
            raise ConfigError(
                f"instant_parents={self.instant_parents}: graph={self.graph} allows {most:g} on average; lower it"
                + (", or raise block" if self.graph == "a6" else "")
            )
        if self.graph == "paper" and self.lags != 1:
            raise ConfigError(f"lags={self.lags}: graph=paper has one lag; set lags=1")
        if not self.radius <= 0.998:
            raise ConfigError(
                f"radius={self.radius}: the process might grow without end, as B is scaled to within 0.1 % alone; set "
                "it to 0.998 or less"
            )
        if 0 < self.condition < 1:
            raise ConfigError(f"condition={self.condition}: no matrix is below 1; 0 asks for Gaussian columns")
        if not self.observation_noise < 1:
            raise ConfigError(f"observation_noise={self.observation_noise} leaves no signal; set a share below 1")
        if self.context <= self.lags:
            raise ConfigError(f"context={self.context} is too short for lags={self.lags}; give a document more tokens")

    @property
    def channels(self) -> int:
        """d: `width`, or as many as concepts."""
        return self.width or self.latents


PRESETS: dict[str, dict[str, Any]] = {
    "realistic": {},
    "paper": {
        "graph": "paper",
        "lags": 1,
        "condition": 1.0,
        "noise_scale": 2**0.5,
        "context": 2,
        "start": "uniform",
    },
    "assumptions": {"graph": "a5", "own_past": True},
    # Denser, sparser or longer processes
    "m3": {"instant_parents": 3.0},
    "m4": {"instant_parents": 4.0},
    "b16": {"parents": 16.0},
    "onelag": {"lags": 1, "parents": 2.0},
    "lags20": {"lags": 20, "parents": 1.0},
    # Other structures
    "a5": {"graph": "a5"},
    "a6": {"graph": "a6"},
    "hubs": {"graph": "hubs"},
    "chain": {"graph": "chain"},
    # Other innovations
    "gg18": {"noise": "generalised"},
    "student": {"noise": "student"},
    "gaussian": {"noise": "gaussian"},
    "drift": {"drift": 0.5},
    # Other observations
    "noisy10": {"condition": 1.0, "observation_noise": 0.1},
    "tall": {"latents": 64, "width": 128, "condition": 1.0, "observation_noise": 0.1},
    "wide": {"latents": 64, "width": 48},
    "ill": {"condition": 1e4},
    "short": {"context": 8},
}
"""Named worlds, as fields that differ from the defaults.

`paper` is the scaling generator of Song et al. 2025: A uniform on SO(k), B the diagonal and a random tenth of the
strict upper triangle of a matrix uniform on SO(k), M a chain of 0.5, Laplace(0, 1) innovations, and documents of two
tokens, the first uniform(0, 1). `assumptions` meets A1 to A5. `gaussian` is the negative control: z is not identified.
"""
