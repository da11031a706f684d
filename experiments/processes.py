"""Several processes as one run: joining, speaking with one voice, and stopping together when asked to."""

import os
import signal
from typing import Any

import jax
from absl import flags
from jax.experimental import multihost_utils

_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "join the other processes of a TPU or Slurm job, found by JAX")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, to join processes by hand")
_PROCESSES = flags.DEFINE_integer("processes", None, "processes in all, with --coordinator")
_PROCESS = flags.DEFINE_integer("process", None, "this process, from 0, with --coordinator")


def join() -> None:
    """Joins the other processes if a flag asks for it. Call before anything else of JAX."""
    cpu_devices = jax.config.jax_num_cpu_devices  # type: ignore[attr-defined]
    if cpu_devices > 1:  # they share XLA's threads, and collectives that wait for each other can use them all up
        os.environ.setdefault("NPROC", str(8 * cpu_devices))
    if _COORDINATOR.value is not None:
        jax.distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    elif _DISTRIBUTED.value:
        jax.distributed.initialize()


def say(text: str) -> None:
    """Prints on process 0 only."""
    if jax.process_index() == 0:
        print(text, flush=True)


class Termination:
    """Notices SIGTERM (a preempted machine, an impatient scheduler) so that the run can save and leave in order."""

    def __init__(self) -> None:
        self._asked = False
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: Any) -> None:
        self._asked = True

    def __call__(self, step: int) -> bool:
        """True from the first step at which all processes know that one of them was asked to stop."""
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self._asked
