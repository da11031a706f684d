"""Knobs: the fields of a frozen configuration, each with its type, its bounds, and a line that explains it."""

import dataclasses
import math
from typing import Any, Literal, get_args, get_origin


class ConfigError(ValueError):
    """A configuration that cannot be run: the message names the field, its value and the mend."""


def knob(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    over: float | None = None,
    under: float | None = math.inf,
    may_change: bool = False,
) -> Any:
    """A field of a dataclass: its default, its explanation with the unit, and what `check_knobs` is to hold it to.

    `under`: a number must be under it, so finite; None where infinity means something.
    `may_change`: whether work that was begun may be continued with another value.
    """
    bounds = {"at_least": at_least, "over": over, "under": under}
    return dataclasses.field(default=default, metadata={"help": help, "may_change": may_change, **bounds})


def check_knobs(config: Any) -> None:
    """Raises `ConfigError` where a knob's value is of another type, none of its choices, or out of its bounds."""
    for field in dataclasses.fields(config):
        value: Any = getattr(config, field.name)
        kind: Any = get_origin(field.type) or field.type
        at_least, over, under = (field.metadata[name] for name in ("at_least", "over", "under"))
        if kind is Literal:
            choices = get_args(field.type)
            if value not in choices:
                raise ConfigError(f"{field.name}={value!r} is unknown; choose one of {', '.join(choices)}")
        elif not isinstance(value, int | float if kind is float else kind):
            raise ConfigError(f"{field.name}={value!r} is of another type; give {kind.__name__}")
        if at_least is not None and not value >= at_least:
            raise ConfigError(f"{field.name}={value} must be at least {at_least}")
        if over is not None and not value > over:
            raise ConfigError(f"{field.name}={value} must be over {over}")
        if under is not None and isinstance(value, int | float) and not value < under:
            raise ConfigError(f"{field.name}={value} must be {'finite' if under == math.inf else f'under {under}'}")
