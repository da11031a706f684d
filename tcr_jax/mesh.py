"""The device mesh, and how host arrays become global ones."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tcr_jax.config import Config, ConfigError


def make_mesh(config: Config, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh (data, model): `model_shards` devices hold one copy of the parameters.

    Args:
      config: `model_shards` and `batch`.
      devices: those to use; by default all devices of all processes.

    Raises:
      ConfigError: the devices cannot be arranged so, or the batch does not divide over them.
    """
    count = jax.device_count() if devices is None else len(devices)
    data, rest = divmod(count, config.model_shards)
    if data == 0:
        raise ConfigError(f"model_shards={config.model_shards} is more than the {count} devices there are")
    if rest:
        raise ConfigError(f"model_shards={config.model_shards} does not divide the {count} devices")
    if config.batch % data:
        raise ConfigError(
            f"batch={config.batch} does not divide over {data} data shards ({count} devices / "
            f"model_shards={config.model_shards}); use a multiple of {data}"
        )
    shape = (data, config.model_shards)
    return jax.make_mesh(shape, ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def batch_rows(mesh: Mesh) -> tuple[int, int]:
    """(index, count): this process feeds rows index, index + count, ... of every batch.

    Processes whose devices only split the parameters further share the same rows.

    Raises:
      ConfigError: two processes share some of their rows but not all.
    """
    rows_of_process: dict[int, list[int]] = {}
    for row, devices in enumerate(mesh.devices):
        for device in devices:
            rows_of_process.setdefault(device.process_index, []).append(row)
    groups = sorted({tuple(sorted(set(rows))) for rows in rows_of_process.values()})
    if len({row for group in groups for row in group}) != sum(map(len, groups)) or len({*map(len, groups)}) > 1:
        raise ConfigError(
            "processes share some rows of a batch but not all; model_shards must divide the devices of a process, or "
            "be a multiple of them"
        )
    mine = tuple(sorted(set(rows_of_process[jax.process_index()])))
    return groups.index(mine), len(groups)


def placed_like(like: jax.Array, values: np.ndarray) -> jax.Array:
    """Host values, the whole of them on every process, split as an array of their shape is."""
    return jax.make_array_from_callback(like.shape, like.sharding, lambda index: values[index])


def to_global(mesh: Mesh, batch: Any) -> Any:
    """A tree of process-local host arrays [rows, ...] as global arrays, their first axis split over `data`."""
    sharding = NamedSharding(mesh, P("data"))
    count = batch_rows(mesh)[1]

    def assemble(rows: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(sharding, rows, (rows.shape[0] * count, *rows.shape[1:]))

    return jax.tree.map(assemble, batch)
