"""Checkpoints: the whole state, the position in the data and the configuration, saved and restored together.

A checkpoint is an Orbax step directory that appears only when complete. It carries fingerprints of every array and of
the position, so that a damaged file is noticed on restoring and the checkpoint before it is used.
"""

import dataclasses
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh, SingleDeviceSharding
from orbax.checkpoint import checkpoint_managers as policies

from tcr_jax.config import Config, ConfigError
from tcr_jax.params import Params
from tcr_jax.store import Source
from tcr_jax.train_step import TrainState, init_state, state_shardings

CONFIG, CHECKPOINTS = "config.json", "checkpoints"
Leaves = dict[str, Any]
T = TypeVar("T")


class CheckpointError(RuntimeError):
    """A run that cannot be saved, restored or loaded: the message names the directory, the reason and the mend."""


class Restored(NamedTuple):
    """A state read back, and what was passed over on the way."""

    state: TrainState
    position: dict[str, Any]  # of the data iterator
    damaged: list[str]  # what was passed over, in words


class Run(NamedTuple):
    """A trained model, as `load_run` returns it."""

    config: Config
    params: Params
    source: Source  # of the activations it was trained on
    step: int
    damaged: list[str]  # later checkpoints that were passed over, in words

    def check_source(self, other: Source, name: str = "the store") -> None:
        """Raises `CheckpointError` where activations from `other` are not of the kind the model was trained on.

        Args:
          other: where they are from.
          name: what they are called in the message: a store, or the directory of another run.
        """
        kind = ("model", "layer", "hook", "width", "dtype")
        wrong = [line for line in self.source.differences(other) if line.split(":")[0] in kind]
        if wrong:
            raise CheckpointError(
                f"the activations of {name} are not those the model was trained on (trained on -> there): "
                f"{'; '.join(wrong)}. Use others of the same model, layer and dtype"
            )


class Checkpoints:
    """The checkpoints of one run, in `workdir/checkpoints`: the latest `keep`, and the one of lowest held-out loss."""

    def __init__(self, workdir: Path, config: Config, source: Source, data: str, mesh: Mesh) -> None:
        """`data` is a digest of the store's contents: a position in the data means nothing in another store."""
        self._directory = workdir.absolute() / CHECKPOINTS
        self._config, self._source, self._data = config, source, data
        self._abstract = _abstract_state(config, source.width, state_shardings(config, source.width, mesh))
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        best = policies.BestN(get_metric_fn=lambda m: -m["loss"], n=1, keep_checkpoints_without_metrics=False)
        keep = policies.AnyPreservationPolicy([policies.LatestN(self._config.keep), best])
        options = ocp.CheckpointManagerOptions(preservation_policy=keep, cleanup_tmp_directories=True)
        return ocp.CheckpointManager(self._directory, options=options)

    def steps(self) -> list[int]:
        """Steps that can be restored, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, position: dict[str, Any], heldout_loss: float | None) -> None:
        """Starts saving; the files are written while training goes on. An error of the last save is raised here.

        Raises:
          CheckpointError: an earlier save failed, for instance on a full disk.
        """
        leaves = _named_leaves(state)
        run = {
            "data": self._data,
            "config": json.loads(self._config.to_json()),
            "source": dataclasses.asdict(self._source),
            "position": position,
            "fingerprint": fingerprint(leaves) | {"position": _checksum_of_json(position)},
        }
        arrays = {item: ocp.args.StandardSave(part) for item, part in _items(leaves).items()}
        items = ocp.args.Composite(**arrays, run=ocp.args.JsonSave(run))
        metrics = None if heldout_loss is None else {"loss": heldout_loss}
        self._guard(lambda: self._manager.save(int(state.step), args=items, metrics=metrics, force=True))

    def wait(self) -> None:
        """Returns when everything started is on disk. Raises `CheckpointError` where it could not be written."""
        self._guard(self._manager.wait_until_finished)

    def close(self) -> None:
        """Waits and releases the manager."""
        self._guard(self._manager.close)

    def restore_latest(self) -> Restored | None:
        """The latest checkpoint that is whole, or None where there is none yet.

        Damaged ones are set aside under `workdir/damaged` once an older one was read whole, and named in the result.
        With several processes a damaged checkpoint is an error: one process cannot know what another could read.

        Raises:
          CheckpointError: every checkpoint is damaged, or they are of another run; nothing is moved then.
        """
        steps = self.steps()
        if not steps:
            return None
        step, (leaves, run), damaged = _latest_whole(steps[-1:] if jax.process_count() > 1 else steps, self._read)
        for name in damaged:
            self._set_aside(name)
        in_order = [leaves[name] for name in _names(self._abstract)]
        words = jax.tree.unflatten(jax.tree.structure(self._abstract), in_order)
        state = words.replace(key=jax.random.wrap_key_data(words.key))
        return Restored(state, run["position"], _in_words(damaged))

    def _read(self, step: int) -> tuple[Leaves, dict[str, Any]]:
        run = _read_run(self._manager, step)
        wrong = Source(**run["source"]).differences(self._source) + self._config.differences(_config_of(run))
        if run["data"] != self._data:
            wrong.append(f"contents of the store: {run['data']} -> {self._data}")
        if wrong:
            raise CheckpointError(
                f"checkpoint {step} in {self._directory} is of another run (then -> now): {'; '.join(wrong)}. "
                f"Use the store and the configuration it was trained with, or another workdir"
            )
        number = _checksum_of_json(run["position"])
        if run["fingerprint"].get("position", number) != number:  # earlier versions wrote none
            raise ValueError("position changed on disk")
        return _read_leaves(self._manager, step, run, _named_leaves(self._abstract)), run

    def _set_aside(self, step: int) -> None:
        """Moves a damaged step out of the manager's sight; nothing is deleted."""
        self._manager.close()
        place = self._directory.parent / "damaged"
        place.mkdir(exist_ok=True)
        free = (place / f"{step}-{n}" if n else place / str(step) for n in itertools.count())
        (self._directory / str(step)).rename(next(path for path in free if not path.exists()))
        self._manager = self._open()

    def _guard(self, action: Any) -> None:
        try:
            action()
        except Exception as error:
            last = self.steps()
            raise CheckpointError(
                f"saving to {self._directory} failed: {_first_line(error)}. The last complete checkpoint is "
                f"{f'step {last[-1]}' if last else 'none'}; see that the disk has room and is writable, and start the "
                "same command again"
            ) from error


def begun(workdir: Path) -> bool:
    """Whether there is a checkpoint to continue from."""
    return bool(saved_steps(workdir))


def saved_steps(workdir: Path) -> set[int]:
    """Steps of the checkpoints there, damaged or not; what a killed save leaves behind is none."""
    return {int(path.name) for path in (workdir / CHECKPOINTS).glob("*") if path.name.isdigit()}


def fingerprint(leaves: dict[str, jax.Array]) -> dict[str, int]:
    """One 32-bit number for every array: the sum, modulo 2^32, of each word times an odd hash of its index.

    One flipped bit changes it, the mesh does not: integer sums have no order. Each device sums what it holds; only
    numbers meet on the host, and no collective is run.
    """
    parts = {name: [_checksum(*part) for part in _parts_held_here(leaf)] for name, leaf in leaves.items()}
    totals = np.array([sum(int(part) for part in parts[name]) % 2**32 for name in leaves], np.uint32)
    if not all(leaf.is_fully_addressable for leaf in leaves.values()):  # the other processes hold parts, too
        totals = multihost_utils.process_allgather(totals).sum(axis=0, dtype=np.uint32)
    return dict(zip(leaves, totals.tolist(), strict=True))


def _parts_held_here(leaf: jax.Array) -> Iterator[tuple[jax.Array, np.ndarray]]:
    """The shards on this process's devices, each once, with the weights of its axes' indices: see `_checksum`."""
    strides = np.cumprod((1, *leaf.shape[:0:-1]), dtype=np.uint64)[::-1]
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            starts = [axis.start or 0 for axis in shard.index]
            yield shard.data, np.array([starts, strides[: leaf.ndim]], np.uint64).astype(np.uint32)


@jax.jit
def _checksum(block: jax.Array, starts_and_strides: np.ndarray) -> jax.Array:
    words = block if block.dtype == jnp.uint32 else jax.lax.bitcast_convert_type(block, jnp.uint32)
    index = jnp.zeros(block.shape, jnp.uint32)
    for axis in range(block.ndim):
        place = jax.lax.broadcasted_iota(jnp.uint32, block.shape, axis) + starts_and_strides[0, axis]
        index += place * starts_and_strides[1, axis]
    return (words * (index * jnp.uint32(2654435761) * 2 + 1)).sum(dtype=jnp.uint32)


def _checksum_of_json(value: Any) -> int:
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def load_run(workdir: str | Path, step: int | None = None) -> Run:
    """Reads a trained model on one device, whatever mesh it was trained on.

    Args:
      workdir: the directory given to training.
      step: which checkpoint; the latest that is whole by default, and `Run.damaged` says what was passed over.

    Raises:
      CheckpointError: there is no run, no whole checkpoint, or no such step.
    """
    directory = Path(workdir).absolute()
    if not (directory / CONFIG).is_file():
        raise CheckpointError(f"{workdir} holds no run: {CONFIG} is missing; give the --workdir of experiments.train")
    options = ocp.CheckpointManagerOptions(read_only=True, create=False, save_interval_steps=0)
    with ocp.CheckpointManager(directory / CHECKPOINTS, options=options) as manager:
        steps = sorted(manager.all_steps())
        if not steps or (step is not None and step not in steps):
            raise CheckpointError(f"{workdir} holds no checkpoint{'' if step is None else f' {step}'}; found: {steps}")

        def read(step: int) -> Run:
            run = _read_run(manager, step)
            config, source = _config_of(run), Source(**run["source"])
            abstract = _abstract_state(config, source.width, SingleDeviceSharding(jax.local_devices()[0]))
            wanted = _items(_named_leaves(abstract))["params"]
            leaves = _read_leaves(manager, step, run, wanted)
            params = jax.tree.unflatten(jax.tree.structure(abstract.params), [leaves[name] for name in wanted])
            return Run(config, params, source, step, [])

        _, found, damaged = _latest_whole(steps if step is None else [step], read)
    return found._replace(damaged=_in_words(damaged))


def _latest_whole(steps: list[int], read: Callable[[int], T]) -> tuple[int, T, dict[int, str]]:
    """The latest step that can be read, what `read` returned, and why the later ones could not be."""
    damaged: dict[int, str] = {}
    for step in reversed(steps):
        try:
            return step, read(step), damaged
        except (CheckpointError, MemoryError, PermissionError, jax.errors.JaxRuntimeError):
            raise  # nothing is wrong with the files
        except Exception as error:  # whatever a library says of a damaged file
            damaged[step] = _first_line(error)
    what = "; ".join(_in_words(damaged))
    raise CheckpointError(f"{what}. None is left to fall back to: move them away, or use another workdir")


def _in_words(damaged: dict[int, str]) -> list[str]:
    return [f"checkpoint {step} is damaged ({why})" for step, why in damaged.items()]


def _read_run(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """What a checkpoint says about itself."""
    return manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore())).run


def _config_of(run: dict[str, Any]) -> Config:
    try:
        return Config.from_json(json.dumps(run["config"]))
    except ConfigError as error:
        raise CheckpointError(f"the checkpoint was written by another version of this library: {error}") from error


def _read_leaves(manager: ocp.CheckpointManager, step: int, run: dict[str, Any], wanted: Leaves) -> Leaves:
    """The arrays under their names, checked against their fingerprints."""
    unknown = set(wanted) - set(run["fingerprint"])
    if unknown:
        raise CheckpointError(
            f"checkpoint {step} was written by another version of tcr_jax or optax: it has no {sorted(unknown)[0]}"
        )
    items = {item: ocp.args.StandardRestore(part) for item, part in _items(wanted).items() if part}
    read = manager.restore(step, args=ocp.args.Composite(**items))
    leaves = {name: leaf for item in items for name, leaf in read[item].items()}
    changed = [name for name, number in fingerprint(leaves).items() if number != run["fingerprint"][name]]
    if changed:
        raise ValueError(f"{', '.join(changed[:3])} changed on disk")
    return leaves


def _abstract_state(config: Config, width: int, shardings: Any) -> TrainState:
    """Shapes, dtypes and shardings of the state as it is stored: the random key as plain words."""

    def stored() -> TrainState:
        state = init_state(config, width, jnp.zeros(width), jnp.ones(()))
        return state.replace(key=jax.random.key_data(state.key))

    abstract = jax.eval_shape(stored)
    if not isinstance(shardings, TrainState):
        shardings = jax.tree.map(lambda _: shardings, abstract)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract, shardings
    )


def _named_leaves(state: TrainState) -> dict[str, Any]:
    """Every array under its path; the random key as plain words."""
    if jnp.issubdtype(state.key.dtype, jax.dtypes.prng_key):
        state = state.replace(key=jax.random.key_data(state.key))
    return dict(zip(_names(state), jax.tree.leaves(state), strict=True))


def _names(tree: Any) -> list[str]:
    return [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(tree)]


def _items(leaves: Leaves) -> dict[str, Leaves]:
    """Parameters apart from the rest, so that a model can be loaded without its optimiser."""
    params = {name: leaf for name, leaf in leaves.items() if name.startswith(".params")}
    return {"params": params, "rest": {name: leaf for name, leaf in leaves.items() if name not in params}}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]
