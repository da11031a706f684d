"""Text -> activations of a causal language model -> a store.

    python -m experiments.extract --out=DIR [--model=NAME] [--text=SOURCE]... [any other field of ExtractConfig]

Stopped in any way and started again with the same flags, it continues where it was. To share the work, start it
several times with --process_count=N and --process_index=0 to N-1, on machines that see the same directory.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from absl import app, flags

from tcr_jax.extract.config import ExtractConfig
from tcr_jax.extract.errors import ExtractError
from tcr_jax.store import StoreError

if TYPE_CHECKING:
    from tcr_jax.extract.extraction import Progress

_OUT = flags.DEFINE_string("out", None, "Directory of the store, made if missing.", required=True)
_PROCESS_INDEX = flags.DEFINE_integer("process_index", 0, "This process among those that share the work, from 0.", 0)
_PROCESS_COUNT = flags.DEFINE_integer("process_count", 1, "Processes that share the work.", 1)

_DEFINE: dict[type, Any] = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    tuple: flags.DEFINE_multi_string,
}


def define_flags() -> None:
    """One flag a field of `ExtractConfig`."""
    for field in dataclasses.fields(ExtractConfig):
        default: Any = field.default
        if field.type != tuple[str, ...] and (choices := get_args(field.type)):
            flags.DEFINE_enum(field.name, default, choices, field.metadata["help"])
        else:
            _DEFINE[type(default)](field.name, default, field.metadata["help"])


def read_config() -> ExtractConfig:
    """The configuration that the command line asks for. Raises `ExtractError` where a value is impossible."""
    values: dict[str, Any] = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(ExtractConfig)}
    return ExtractConfig(**values | {"text": tuple(values["text"])})


define_flags()


class Terminal:
    """Prints what a run is doing: every new step, and every few seconds within one."""

    SECONDS = 5.0

    def __init__(self) -> None:
        self._step, self._began, self._printed = "", 0.0, 0.0

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        if progress.step != self._step:
            self._step, self._began = progress.step, now
        elif now - self._printed < self.SECONDS and (not progress.total or progress.tokens < progress.total):
            return
        self._printed = now
        print(self._line(progress, now - self._began), flush=True)

    def _line(self, progress: "Progress", seconds: float) -> str:
        line = f"{progress.step}  {progress.documents:,} documents"
        if not progress.total:
            return line
        speed = progress.tokens / seconds if seconds else 0.0
        left = f"  {(progress.total - progress.tokens) / speed:,.0f} s left" if speed else ""
        return f"{line}  {progress.tokens:,} of {progress.total:,} tokens  {speed:,.0f} tokens/s{left}"


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]!r}; flags start with --")
    try:
        config = read_config()
        if _PROCESS_INDEX.value >= _PROCESS_COUNT.value:
            raise ExtractError(
                f"process_index={_PROCESS_INDEX.value} counts from 0: it must be under "
                f"process_count={_PROCESS_COUNT.value}"
            )
        run(config)
    except (ExtractError, StoreError) as error:
        sys.exit(f"error: {error}")


def run(config: ExtractConfig) -> None:
    """Extracts, and says what was written."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars of the libraries below, in the way of ours
    try:
        import transformers
    except ImportError as error:
        raise ExtractError(f"needs torch and transformers ({error}); pip install 'tcr_jax[extract]'") from error
    transformers.logging.set_verbosity_error()
    from tcr_jax.extract.extraction import extract

    began = time.monotonic()
    description = extract(
        config,
        _OUT.value,
        process_index=_PROCESS_INDEX.value,
        process_count=_PROCESS_COUNT.value,
        report=Terminal(),
    )
    seconds = time.monotonic() - began
    if description is None:
        print(f"{_OUT.value}: this process is done, {seconds:,.0f} s; the store is complete when the others are")
        return
    print(
        f"{_OUT.value}: complete, {description.tokens:,} tokens kept of {description.positions:,} positions, "
        f"{description.documents:,} documents, {len(description.shards)} shards, d={description.source.width}, "
        f"{seconds:,.0f} s; next: python -m experiments.train --store={_OUT.value} --workdir=DIR"
    )


if __name__ == "__main__":
    app.run(main)
