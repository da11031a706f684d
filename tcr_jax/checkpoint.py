"""Checkpoints: the whole state, the position in the data and the configuration, saved and restored together.

A checkpoint is an Orbax step directory that appears only when complete. It carries a fingerprint of every array, so
that a damaged file is noticed on restoring and the checkpoint before it is used.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh, SingleDeviceSharding
from orbax.checkpoint import checkpoint_managers as policies

from tcr_jax.config import Config
from tcr_jax.params import Params
from tcr_jax.store import Source
from tcr_jax.train_step import TrainState, init_state, state_shardings

CONFIG = "config.json"


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

    def check_source(self, other: Source) -> None:
        """Raises `CheckpointError` where activations from `other` are not of the kind the model was trained on."""
        kind = ("model", "layer", "hook", "width", "dtype")
        wrong = [line for line in self.source.differences(other) if line.split(":")[0] in kind]
        if wrong:
            raise CheckpointError(
                f"the store's activations are not those the model was trained on (trained on -> store): "
                f"{'; '.join(wrong)}. Use a store of the same model, layer and dtype"
            )


class Checkpoints:
    """The checkpoints of one run, in `workdir/checkpoints`: the latest `keep`, and the one of lowest held-out loss."""

    def __init__(self, workdir: Path, config: Config, source: Source, mesh: Mesh) -> None:
        self._directory = workdir.absolute() / "checkpoints"
        self._config, self._source = config, source
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
            "config": json.loads(self._config.to_json()),
            "source": dataclasses.asdict(self._source),
            "position": position,
            "fingerprint": fingerprint(leaves),
        }
        params = {name: leaf for name, leaf in leaves.items() if _is_param(name)}
        rest = {name: leaf for name, leaf in leaves.items() if not _is_param(name)}
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(params), rest=ocp.args.StandardSave(rest), run=ocp.args.JsonSave(run)
        )
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

        A damaged one is set aside under `workdir/damaged`, and named in the result.

        Raises:
          CheckpointError: every checkpoint is damaged, or they hold arrays of another shape.
        """
        damaged: list[str] = []
        for step in reversed(self.steps()):
            try:
                leaves, run = self._read(step)
            except CheckpointError:
                raise
            except Exception as error:  # whatever a library says of a damaged file
                damaged.append(f"checkpoint {step} is damaged ({_first_line(error)})")
                self._set_aside(step)
                continue
            in_order = [leaves[name] for name in _names(self._abstract)]
            words = jax.tree.unflatten(jax.tree.structure(self._abstract), in_order)
            state = words.replace(key=jax.random.wrap_key_data(words.key))
            return Restored(state, run["position"], damaged)
        if damaged:
            raise CheckpointError(
                f"every checkpoint in {self._directory} is damaged: {'; '.join(damaged)}. They were moved to "
                f"{self._directory.parent / 'damaged'}; start again to train from the first step"
            )
        return None

    def _read(self, step: int) -> tuple[dict[str, jax.Array], dict[str, Any]]:
        run = self._manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore())).run
        wrong = Source(**run["source"]).differences(self._source) + self._config.differences(Config(**run["config"]))
        if wrong:
            raise CheckpointError(
                f"checkpoint {step} in {self._directory} is of another run (then -> now): {'; '.join(wrong)}. "
                f"Use the store and the configuration it was trained with, or another workdir"
            )
        abstract = _named_leaves(self._abstract)
        groups = [{n: a for n, a in abstract.items() if _is_param(n) == is_param} for is_param in (True, False)]
        items = ocp.args.Composite(
            params=ocp.args.StandardRestore(groups[0]), rest=ocp.args.StandardRestore(groups[1])
        )
        read = self._manager.restore(step, args=items)
        leaves = {**read.params, **read.rest}
        found = fingerprint(leaves)
        changed = [name for name, value in run["fingerprint"].items() if found.get(name) != value]
        if changed:
            raise ValueError(f"{', '.join(changed[:3])} changed on disk")
        return leaves, run

    def _set_aside(self, step: int) -> None:
        """Moves a damaged step out of the manager's sight; nothing is deleted."""
        self._manager.close()
        if jax.process_index() == 0:
            target = self._directory.parent / "damaged" / str(step)
            target.parent.mkdir(exist_ok=True)
            (self._directory / str(step)).rename(target)
        self._manager = self._open()

    def _guard(self, action: Any) -> None:
        try:
            action()
        except Exception as error:
            last = self.steps()
            raise CheckpointError(
                f"saving to {self._directory} failed: {_first_line(error)}. The last complete checkpoint is "
                f"{f'step {last[-1]}' if last else 'none'}; free some space and start the same command again"
            ) from error


def fingerprint(leaves: dict[str, jax.Array]) -> dict[str, int]:
    """One 32-bit number for every array: the sum, modulo 2^32, of each word times an odd hash of its index.

    One flipped bit changes it, the mesh does not: integer sums have no order. Each device sums what it holds; only
    numbers meet on the host, and no collective is run.
    """
    parts = {name: [_checksum(*part) for part in _parts_held_here(leaf)] for name, leaf in leaves.items()}
    totals = np.array([sum(int(part) for part in parts[name]) % 2**32 for name in leaves], np.uint32)
    if jax.process_count() > 1:
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


def load_run(workdir: str | Path, step: int | None = None) -> Run:
    """Reads a trained model on one device, whatever mesh it was trained on.

    Args:
      workdir: the directory given to training.
      step: which checkpoint; the latest by default.

    Raises:
      CheckpointError: there is no run, no complete checkpoint, or no such step.
    """
    directory = Path(workdir).absolute()
    if not (directory / CONFIG).is_file():
        raise CheckpointError(f"{workdir} holds no run: {CONFIG} is missing; give the --workdir of experiments.train")
    with ocp.CheckpointManager(directory / "checkpoints", options=ocp.CheckpointManagerOptions(read_only=True)) as m:
        steps = sorted(m.all_steps())
        if not steps or (step is not None and step not in steps):
            raise CheckpointError(f"{workdir} holds no checkpoint{'' if step is None else f' {step}'}; found: {steps}")
        step = steps[-1] if step is None else step
        run = m.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore())).run
        config, source = Config(**run["config"]), Source(**run["source"])
        abstract = _abstract_state(config, source.width, SingleDeviceSharding(jax.local_devices()[0])).params
        names = [f".params{name}" for name in _names(abstract)]
        leaves = dict(zip(names, jax.tree.leaves(abstract), strict=True))
        read = m.restore(step, args=ocp.args.Composite(params=ocp.args.StandardRestore(leaves))).params
    params = jax.tree.unflatten(jax.tree.structure(abstract), [read[name] for name in names])
    return Run(config, params, source, step)


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


def _is_param(name: str) -> bool:
    return name.startswith(".params")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]
