"""Text -> activations of a causal language model -> a store.

    python -m experiments.extract --out=DIR [--model=NAME] [--text=SOURCE]... [any other field of ExtractConfig]

Stopped in any way and started again with the same flags, it continues where it was. To share the work, start it
several times with --processes=N and --process=0 to N-1, on machines that see the same directory.
"""

import os
import time
from typing import TYPE_CHECKING

from absl import flags

from experiments import config_flags, launch
from tcr_jax.extract.config import ConfigError, ExtractConfig

if TYPE_CHECKING:
    from tcr_jax.extract.extraction import Progress

_OUT = flags.DEFINE_string("out", None, "directory of the store, made if missing", required=True)
_PROCESSES = flags.DEFINE_integer("processes", 1, "processes that share the work", 1)
_PROCESS = flags.DEFINE_integer("process", 0, "this process, from 0", 0)
config_flags.define(ExtractConfig)


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


def main() -> None:
    config, out = ExtractConfig(**config_flags.given(ExtractConfig)), _OUT.value
    if _PROCESS.value >= _PROCESSES.value:
        raise ConfigError(f"process={_PROCESS.value} counts from 0: it must be under processes={_PROCESSES.value}")
    for name, value in {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}.items():
        os.environ.setdefault(name, value)  # read on import: what they print would be in the way of ours
    with launch.extra("extract"):
        from tcr_jax.extract.extraction import extract
    began = time.monotonic()
    description = extract(
        config, out, process_index=_PROCESS.value, process_count=_PROCESSES.value, report=Terminal()
    )
    seconds = time.monotonic() - began
    if description is None:
        print(f"{out}: this process is done, {seconds:,.0f} s; the store is complete when the others are")
    else:
        print(f"{out}: complete, {description}, {seconds:,.0f} s")
        print(f"next: python -m experiments.train --store={out} --workdir=DIR")


if __name__ == "__main__":
    launch.run(main)
