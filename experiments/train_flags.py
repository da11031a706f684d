"""The configuration of a training run on the command line: a preset or a saved file, and any field on top of it."""

import dataclasses
from pathlib import Path

from absl import flags

from experiments import config_flags
from tcr_jax.config import PRESETS, Config

_PRESET = flags.DEFINE_enum("preset", "default", sorted(PRESETS), "named configuration to start from")
_CONFIG = flags.DEFINE_string("config", None, "saved configuration (config.json of a run) to start from instead")
config_flags.define(Config)


def read() -> Config:
    """The configuration that the command line asks for. Raises `ConfigError` where its values do not fit together."""
    start = PRESETS[_PRESET.value]
    if _CONFIG.value is not None:
        start = dataclasses.asdict(Config.read(Path(_CONFIG.value)))
    return Config(**start | config_flags.given(Config))
