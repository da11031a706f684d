"""The fields of a configuration as absl flags: `knob` says how each is explained, its type what it takes."""

import dataclasses
from typing import Any, Literal, get_args, get_origin

from absl import flags

flags.disclaim_key_flags()  # they are the launcher's own, which its --help shows

_DEFINE: dict[Any, Any] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    tuple: flags.DEFINE_multi_string,
}


def define(config: type) -> None:
    """Defines one flag a field of the dataclass `config`, without a value until the command line gives one."""
    for field in dataclasses.fields(config):
        default = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        text = f"{field.metadata['help']} (default: {'none' if default == '' else default})"
        if get_origin(field.type) is Literal:
            flags.DEFINE_enum(field.name, None, get_args(field.type), text)
        else:
            _DEFINE[get_origin(field.type) or field.type](field.name, None, text)


def given(config: type) -> dict[str, Any]:
    """Values of those fields of `config` that the command line gives."""
    values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(config)}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if value is not None
    }
