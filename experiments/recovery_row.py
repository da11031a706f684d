"""One row of the comparison: an estimator on a world, with every measure, its time and its memory, by name."""

import dataclasses
import importlib.metadata
import math
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.machine import device_peak, memory_of_one, resident_peak, timed
from experiments.peers import estimate
from experiments.scratch import in_file
from tcr_jax.identify.source import remembered
from tcr_jax.identify.types import Batches
from tcr_jax.scores import recovery
from tcr_jax.worlds import World, WorldConfig, ambiguity, assumptions, make_world, sample

EVERY = 30.0
"""Seconds between lines of progress."""

HELDOUT = 1
"""Fold of the world's data on which estimates are scored."""


class Stream:
    """A stream that knows how long its data took to simulate, and tells how far a pass is."""

    def __init__(self, batches: Batches, count: int, name: str) -> None:
        self.seconds, self.cpu_seconds, self._passes, self._count, self._name = 0.0, 0.0, 0, count, name
        self._told = self._began = time.perf_counter()
        self._batches = batches

    def __call__(self) -> Iterator[tuple[jax.Array, jax.Array]]:
        stream = self._batches()
        this = self._passes + 1
        for number in range(1, self._count + 1):
            busy = time.process_time()
            seconds, batch = timed(next, stream)
            self.seconds += seconds
            self.cpu_seconds += time.process_time() - busy
            now = time.perf_counter()
            if now - self._told > EVERY:
                self._told = now
                print(
                    f"{self._name}: pass {this}, batch {number} of {self._count}, {now - self._began:.0f} s",
                    flush=True,
                )
            yield batch
        next(stream, None)  # what is remembered is so from the end of a pass on
        self._passes = this


def measure(
    config: WorldConfig, estimator: str, tokens: int, heldout: int, held: float, scratch: str | None
) -> dict[str, Any]:
    """Every number of a row, by name; `config.seed` is that of the world, its data and the estimator.

    Activations are kept from the first pass on where they fit in the share `held` of memory, else in a file in the
    directory `scratch`; without one every pass simulates them anew.

    `seconds` is the estimator's time with its compilation, without that of simulating data or reading it back
    (`data_seconds`), and `cpu_seconds` what all cores together spent on it, whatever else the machine did.
    `peak_memory_bytes` is the most main memory that this process held, activations that are kept among it, and
    `start_memory_bytes` the most before the estimator began.
    """
    world = make_world(config)
    sequences, name = math.ceil(tokens / config.context), f"{estimator}, seed {config.seed}"
    start, busy = resident_peak(), time.process_time()
    with _kept(world, sequences, held, scratch) as batches:
        stream = Stream(batches, math.ceil(sequences / world.batch_size), name)
        seconds, found = timed(
            lambda: estimate(
                estimator,
                stream,
                world.params.dictionary,
                latents=config.latents,
                lags=config.lags,
                seed=config.seed,
                say=lambda line: print(f"{name}: {line}", flush=True),
            )
        )
    busy = time.process_time() - busy
    peaks = {"peak_memory_bytes": resident_peak(), "device_peak_bytes": device_peak(_mesh())}
    key = jax.random.fold_in(jax.random.key(config.seed), HELDOUT)
    scores = recovery(world.params, found, sample(world, key, math.ceil(heldout / config.context)))
    alternatives = ambiguity(world)
    return {
        "estimator": estimator,
        **scores,
        "seconds": seconds - stream.seconds,
        "cpu_seconds": busy - stream.cpu_seconds,
        "data_seconds": stream.seconds,
        **peaks,
        "start_memory_bytes": start,
        "tokens": sequences * config.context,
        "heldout": math.ceil(heldout / config.context) * config.context,
        "world": dataclasses.asdict(config),
        "assumptions": {name: part._asdict() for name, part in assumptions(world)._asdict().items()},
        "ambiguity": {
            "moves": len(alternatives.moves),
            "smallest_gap": alternatives.smallest_gap,
            "words": alternatives.in_words(),
        },
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """What the numbers were measured with."""
    packages = ("jax", "jaxlib", "numpy", "scipy", "scikit-learn", "lingam")
    return {
        "devices": [device.device_kind for device in jax.devices()],
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version for name in packages if (version := _version(name)) is not None},
        "commit": _commit(),
    }


def plain(value: Any) -> Any:
    """The same for JSON: numbers as Python's own, and null where they are not finite."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _kept(world: World, sequences: int, held: float, scratch: str | None) -> AbstractContextManager[Batches]:
    """The world's stream, kept where there is room; its last batch is as large as the others."""
    batches, room = world.batches(sequences), int(held * memory_of_one())
    rows = math.ceil(sequences / world.batch_size) * world.batch_size
    if scratch and 4 * rows * world.config.context * world.config.channels > room:
        return in_file(batches, scratch)
    return nullcontext(remembered(batches, room))


def _mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), ("data",))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of these files, with `-dirty` where they were changed since; None outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
