"""The configuration: checked on creation, saved and read back."""

import dataclasses

import pytest

from tcr_jax import Config, ConfigError, Process, param_specs
from tcr_jax.config import PRESETS


@pytest.mark.parametrize(
    ("values", "culprit"),
    [
        ({"topk": 65, "latents": 64}, "topk=65 is more than latents=64"),
        ({"lags": 0}, "lags=0 must be at least 1"),
        ({"latents": 100, "model_shards": 3}, "latents=100 does not divide evenly over model_shards=3"),
        ({"activation": "softmax"}, "activation='softmax' is unknown; choose one of topk"),
        ({"corrections": 1, "activation": "relu"}, "corrections=1 are for activation=topk and relu_topk, not relu"),
        ({"heldout": 0.0}, "heldout=0.0"),
        ({"steps": 0}, "steps=0"),
        ({"sparsity_weight": -1.0}, "sparsity_weight=-1.0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"warmup": 0.6, "decay": 0.6}, "warmup=0.6"),
        ({"learning_rate": float("nan")}, "learning_rate=nan must be over 0"),
        ({"sparsity_weight": float("inf")}, "sparsity_weight=inf must be finite"),
        ({"heldout": float("nan")}, "heldout=nan must be finite"),
        ({"seed": 2**32}, "seed=4294967296 must be under 4294967296"),
        ({"mode": "dictionary"}, "innovation_weight=0.3 would only shrink the code"),
        ({"latents": "64"}, "latents='64' is of another type; give int"),
    ],
)
def test_impossible_values_are_named(values: dict, culprit: str) -> None:
    """A configuration that cannot run fails on creation, naming the field and its value."""
    with pytest.raises(ConfigError, match=culprit):
        Config(**values)


def test_gradients_need_not_be_clipped() -> None:
    """An infinite norm is the way to say so."""
    config = Config(clip=float("inf"))
    assert Config.from_json(config.to_json()) == config


def test_instantaneous_mode_needs_no_lags() -> None:
    """Without delayed effects, `lags` means nothing and B has no lags."""
    assert Config(mode="instantaneous", lags=0).delays == 0


@pytest.mark.parametrize("name", ["sae_relu", "sae_topk", "sae_batchtopk"])
def test_a_sparse_autoencoder_has_no_process(name: str) -> None:
    """The presets of plain autoencoders have neither B nor M nor an intercept, and no term that would need one."""
    config = Config(**PRESETS[name], lags=0, decay=1.0, warmup=0.0)
    assert config.delays == 0 and not config.has_m and not config.innovation_weight
    assert param_specs(config, 4).process == Process(None, None, None)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_a_file(name: str) -> None:
    """Every preset is valid, and from_json(to_json(c)) == c."""
    config = Config(**PRESETS[name])
    assert Config.from_json(config.to_json()) == config


def test_a_file_with_an_unknown_field_is_refused() -> None:
    """A misspelt field in a file is an error, never ignored; so is a file that is no JSON object."""
    with pytest.raises(ConfigError, match="no such field: lagz"):
        Config.from_json('{"lagz": 3}')
    for damaged in ('{"lags": 3', "3"):
        with pytest.raises(ConfigError, match="not the JSON object of a configuration"):
            Config.from_json(damaged)


def test_only_cadence_may_change_in_a_continued_run() -> None:
    """What decides the numbers may not change; where and how often they are written may."""
    config = Config()
    assert dataclasses.replace(config, log_every=1, model_shards=2, store="elsewhere").differences(config) == []
    assert dataclasses.replace(config, seed=1).differences(config) == ["seed: 0 -> 1"]


def test_every_field_is_explained() -> None:
    """`--help` has a line for each knob."""
    assert all(field.metadata["help"] for field in dataclasses.fields(Config))
