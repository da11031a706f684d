"""Every field of `Config` as an absl flag, over a preset or a saved file."""

import dataclasses
from pathlib import Path
from typing import Any, get_args

from absl import flags

from tcr_jax.config import PRESETS, Config

_PRESET = flags.DEFINE_enum("preset", "default", sorted(PRESETS), "Named configuration to start from.")
_FILE = flags.DEFINE_string("config", None, "Saved configuration (config.json of a run) to start from instead.")


def define() -> None:
    """Defines one flag a field; a flag that is not given leaves the preset's or the file's value."""
    for field in dataclasses.fields(Config):
        text = f"{field.metadata['help']} (default: {field.default})"
        if choices := get_args(field.type):
            flags.DEFINE_enum(field.name, None, choices, text)
        elif field.type is bool:
            flags.DEFINE_bool(field.name, None, text)
        else:
            by_type: dict[Any, Any] = {
                int: flags.DEFINE_integer,
                float: flags.DEFINE_float,
                str: flags.DEFINE_string,
            }
            by_type[field.type](field.name, None, text)


def read() -> Config:
    """The configuration that the command line asks for. Raises `ConfigError` where its values do not fit together."""
    if _FILE.value is not None:
        start = dataclasses.asdict(Config.from_json(Path(_FILE.value).read_text(encoding="utf-8")))
    else:
        start = PRESETS[_PRESET.value]
    given = {name: flags.FLAGS[name].value for name in (field.name for field in dataclasses.fields(Config))}
    return Config(**{**start, **{name: value for name, value in given.items() if value is not None}})
