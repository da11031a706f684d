"""Work in a process of its own: its memory is its own, where it dies others go on, and it ends with its launcher."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Result = TypeVar("Result")


class Died(RuntimeError):
    """The process ended without a result, as one does that the system kills for its memory."""


def isolated(function: Callable[..., Result], *args: object) -> Result:
    """`function(*args)` in a new process. What it raises is raised here; `Died` where the process was killed."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=_end_with_launcher) as pool:
        try:
            return pool.submit(function, *args).result()
        except BrokenProcessPool as error:
            raise Died(
                "its process ended without a result: what it printed says why; nothing, if its memory ran out"
            ) from error


def _end_with_launcher() -> None:
    """Ends this process as soon as its launcher is gone, whatever it was doing: a killed launcher cannot tell it to."""
    threading.Thread(target=_wait_for_launcher, daemon=True).start()


def _wait_for_launcher() -> None:
    launcher = multiprocessing.parent_process()
    assert launcher is not None  # this is a spawned process
    launcher.join()
    os._exit(1)
