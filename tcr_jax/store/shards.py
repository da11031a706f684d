"""One shard: an ArrayRecord file of contexts, and beside it, once the file is in place, a sidecar that sums it up."""

import contextlib
import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from tcr_jax.files import partial_path, publish
from tcr_jax.store import records
from tcr_jax.store.description import Shard, Sidecar, Source
from tcr_jax.store.files import FORMAT, StoreError, read_json, sha256, write_json

OPTIONS = "group_size:1,uncompressed"  # one context a read: groups and compression cost random access its speed


def shard_path(directory: Path | str, index: int) -> Path:
    """File of a shard; its sidecar has the suffix `.json` instead."""
    return Path(directory) / f"shard-{index:05d}.array_record"


def finished_shards(directory: Path | str) -> set[int]:
    """Numbers of the shards that are whole."""
    return set(finished_sidecars(directory))


def finished_sidecars(directory: Path | str) -> dict[int, Sidecar]:
    """What is said of the shards that are whole, by number."""
    found = (re.fullmatch(r"shard-(\d{5,})\.json", path.name) for path in Path(directory).glob("shard-*.json"))
    numbers = sorted(int(match[1]) for match in found if match)
    sidecars = {index: finished_sidecar(directory, index) for index in numbers}
    return {index: sidecar for index, sidecar in sidecars.items() if sidecar is not None}


def finished_sidecar(directory: Path | str, index: int) -> Sidecar | None:
    """What is said of a shard, if it is whole: file and sidecar are both in place, and agree on the file's size."""
    try:
        sidecar = read_sidecar(directory, index)
        return sidecar if shard_path(directory, index).stat().st_size == sidecar.shard.size else None
    except (FileNotFoundError, StoreError):
        return None


def read_sidecar(directory: Path | str, index: int) -> Sidecar:
    """What is said of this shard. Raises `StoreError` naming the sidecar where it is missing or damaged."""
    path = shard_path(directory, index).with_suffix(".json")
    return Sidecar.from_json(read_json(path), path)


def write_shard(directory: Path | str, source: Source, index: int, contexts: Iterable[records.Context]) -> Shard:
    """Writes one shard and its sidecar, atomically, replacing what was there. Aim at 64 MB or more a shard.

    Several processes may write the same shard at once: it is then what one of them wrote.

    Raises:
      StoreError: a context does not fit the source, or holds NaN or Inf (named by shard, context, position and
        document); there are no contexts; or the disk did not take the shard. Finished shards stay as they are.
    """
    path = shard_path(directory, index)
    sidecar, partial = path.with_suffix(".json"), partial_path(path)
    try:
        statistics = _write_records(partial, path, source, contexts)
        with _on_disk(path):
            size, checksum = partial.stat().st_size, sha256(partial)
        kept = sum(statistics["rows"]["kept"])
        shard = Shard(file=path.name, records=statistics.pop("records"), kept=kept, size=size, sha256=checksum)
        values = {
            "format": FORMAT,
            "shard": dataclasses.asdict(shard),
            "source": dataclasses.asdict(source),
            **statistics,
        }
        with _on_disk(path):
            if finished_sidecar(directory, index) and read_json(sidecar) == values and sha256(path) == checksum:
                return shard  # another process was quicker, and the store may be complete by now
            sidecar.unlink(missing_ok=True)  # of a shard that is replaced: it must never stand beside the new one
            publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    with _on_disk(sidecar):
        write_json(sidecar, values)
    return shard


def _write_records(partial: Path, path: Path, source: Source, contexts: Iterable[records.Context]) -> dict[str, Any]:
    """Writes `partial` and returns what the sidecar of `path` says of it.

    `rows` is a table of how many tokens each record keeps of each document: it tells which records a split needs
    without reading them.
    """
    sum_d, square_d = np.zeros(source.width), np.zeros(source.width)
    count = largest_token = 0
    rows: dict[str, list[int]] = {"record": [], "document": [], "kept": []}
    with _on_disk(path):
        writer = ArrayRecordWriter(str(partial), OPTIONS)
    try:
        for count, context in enumerate(contexts, start=1):
            try:
                records.check(context, source)
            except StoreError as error:
                raise StoreError(f"{path}: context {count - 1}: {error}") from error
            with _on_disk(path):
                writer.write(records.encode(context))
            x_td = context.activations_td[context.kept_t].astype(np.float64)
            sum_d += x_td.sum(axis=0)
            square_d += np.square(x_td).sum(axis=0)
            largest_token = max(largest_token, int(context.token_t.max()))
            for document, kept in Counter(context.document_t[context.kept_t].tolist()).items():
                for column, value in zip(rows.values(), (count - 1, document, kept), strict=True):
                    column.append(value)
    finally:
        with _on_disk(path):
            writer.close()
    if not count:
        raise StoreError(f"{path}: no contexts; plan shards that each hold at least one")
    moments = {"sum_d": sum_d.tolist(), "square_d": square_d.tolist()}
    return {"records": count, "largest_token": largest_token, "rows": rows, **moments}


@contextlib.contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Turns what the disk, or ArrayRecord on its behalf, refuses into a `StoreError` naming `path`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise StoreError(f"{path}: not written ({error}); make room and run again: finished shards are kept") from error
