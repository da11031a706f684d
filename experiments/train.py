"""Trains the temporal-instantaneous model on an activation store.

    python -m experiments.train --store=DIR --workdir=DIR [--preset=paper] [--config=FILE] [any field of Config]

The workdir holds `config.json`, `metrics.jsonl` and `checkpoints/`. Stopped in any way and started again with the same
flags, a run continues where it was and ends with the same parameters, bit by bit (on a GPU, with
XLA_FLAGS=--xla_gpu_deterministic_ops=true).
"""

from pathlib import Path
from typing import Any

import jax
from absl import flags

from experiments import launch, processes, train_flags
from tcr_jax.config import ConfigError
from tcr_jax.loop import train
from tcr_jax.mesh import make_mesh

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run, made if missing", required=True)
_TENSORBOARD = flags.DEFINE_bool("tensorboard", False, "also write the metrics to WORKDIR/tensorboard")
_PROFILE_FROM = flags.DEFINE_integer("profile_from", None, "first step of a profile, written to WORKDIR/profile", 0)
_PROFILE_STEPS = flags.DEFINE_integer("profile_steps", 5, "steps that the profile covers", 1)
_CACHE = flags.DEFINE_string("compilation_cache", None, "directory in which compiled steps are kept between runs")
flags.adopt_module_key_flags(train_flags)
flags.adopt_module_key_flags(processes)

SHOWN = ("loss", "fvu", "l0", "dead", "r2_past_present", "heldout_fvu", "heldout_r2_past", "heldout_r2_past_present")


def progress(values: dict[str, float], steps: int) -> str:
    """One line for the terminal."""
    shown = "  ".join(f"{name} {values[name]:.4g}" for name in SHOWN if name in values)
    speed = f"  {values['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in values else ""
    left = f"  {values['seconds_left'] / 60:.1f} min left" if "seconds_left" in values else ""
    return f"step {values['step']}/{steps}  {shown}{speed}{left}"


class Profiler:
    """Profiles the steps that the flags name: the first ones at or after `profile_from`, in a continued run too."""

    def __init__(self, workdir: Path) -> None:
        self._directory, self._from = workdir / "profile", _PROFILE_FROM.value
        self._last: int | None = None  # while a trace is being taken

    def __call__(self, step: int) -> None:
        if self._last is None and self._from is not None and step >= self._from:
            jax.profiler.start_trace(str(self._directory))
            self._last, self._from = step + _PROFILE_STEPS.value, None
        elif self._last is not None and step >= self._last:
            self.stop()

    def stop(self) -> None:
        if self._last is not None:
            jax.profiler.stop_trace()
            self._last = None


def tensorboard(workdir: Path) -> Any:
    """A writer of scalars, or None where none was asked for."""
    if not _TENSORBOARD.value or jax.process_index() != 0:
        return None
    with launch.extra("tensorboard"):
        from tensorboardX import SummaryWriter

    return SummaryWriter(str(workdir / "tensorboard"))


def main() -> None:
    processes.join()
    if _CACHE.value:
        jax.config.update("jax_compilation_cache_dir", _CACHE.value)
    config, workdir = train_flags.read(), Path(_WORKDIR.value)
    if not config.store:
        raise ConfigError("--store is missing: give the directory that an extraction or an import wrote")
    stop, profile, board = processes.Termination(), Profiler(workdir), tensorboard(workdir)

    def observe(values: dict[str, float]) -> None:
        processes.say(progress(values, config.steps))
        if board is not None:
            for name, value in values.items():
                board.add_scalar(name, value, values["step"])

    def should_stop(step: int) -> bool:
        profile(step)
        return stop(step)

    try:
        outcome = train(config, workdir, make_mesh(config), say=processes.say, observe=observe, should_stop=should_stop)
    finally:
        profile.stop()
    step = int(outcome.state.step)
    if outcome.finished:
        processes.say(f"finished at step {step}; next: python -m experiments.relations --workdir={workdir}")
    else:
        processes.say(f"asked to stop: saved step {step}; the same command continues from there")


if __name__ == "__main__":
    launch.run(main)
