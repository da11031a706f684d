"""Configurations of worlds: what cannot work is refused by name, with the mend."""

import dataclasses
from typing import Any

import pytest

from tcr_jax import ConfigError
from tcr_jax.worlds import PRESETS, WorldConfig


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_differs_from_the_defaults_in_every_field_it_names(name: str) -> None:
    """A preset is a valid configuration, and says nothing twice (but for sizes that belong together)."""
    config = WorldConfig(**PRESETS[name])
    defaults = dataclasses.asdict(WorldConfig())
    for field in set(PRESETS[name]) - {"latents"}:
        assert getattr(config, field) != defaults[field]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latents": 0}, "latents=0 must be at least 1"),
        ({"graph": "tree"}, "graph='tree' is unknown; choose one of random, a5"),
        ({"parents": 65.0}, "parents=65.0 is more than latents=64; lower it"),
        ({"parents": 0.5, "own_past": True}, "parents=0.5 leaves no room for own_past; give at least 1"),
        ({"instant_parents": 40.0}, "instant_parents=40.0: graph=random allows 31.5 on average; lower it"),
        ({"graph": "a5", "instant_parents": 1.5}, "instant_parents=1.5: graph=a5 allows 1 on average; lower it"),
        ({"graph": "a6", "block": 2}, "graph=a6 allows 0.5 on average; lower it, or raise block"),
        ({"b_low": 0.6}, "b_low=0.6 is more than b_high=0.5; swap them"),
        ({"m_low": 0.9}, "m_low=0.9 is more than m_high=0.8; swap them"),
        ({"radius": 0.9999}, "radius=0.9999: the process might grow without end"),
        ({"degrees": 2.0}, "degrees=2.0 must be over 2"),
        ({"condition": 0.5}, "condition=0.5: no matrix is below 1; 0 asks for Gaussian columns"),
        ({"observation_noise": 1.0}, "observation_noise=1.0 leaves no signal; set a share below 1"),
        ({"context": 2}, "context=2 is too short for lags=2; give a document more tokens"),
        ({"graph": "paper"}, "lags=2: graph=paper has one lag; set lags=1"),
    ],
)
def test_what_cannot_work_is_refused_with_the_mend(values: dict[str, Any], message: str) -> None:
    """The error names the field, its value and what to do."""
    with pytest.raises(ConfigError) as error:
        WorldConfig(**values)
    assert message in str(error.value)
