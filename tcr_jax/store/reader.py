"""Reads a complete store: checked when opened, then one context at a time from the disk, in any order."""

import operator
from pathlib import Path
from typing import Any

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from tcr_jax.store.description import DESCRIPTION, Description, Shard, Sidecar, Source
from tcr_jax.store.files import StoreError, read_json, sha256
from tcr_jax.store.records import Context, decode
from tcr_jax.store.shards import finished_shards, finished_sidecar, read_sidecar, shard_path
from tcr_jax.store.split import Split, in_split
from tcr_jax.store.texts import read_document_names, read_texts


class Store:
    """The contexts of a complete store, as a sequence. It can be pickled and read from many threads.

    Attributes:
      description: what the store says about itself.
      pieces: printable text of every token id.
      documents: name of every document, by its number; None where the store was written without names.
    """

    def __init__(
        self,
        description: Description,
        pieces: list[str],
        documents: list[str] | None,
        rows: dict[str, np.ndarray],
        records: Any,
    ):
        self.description = description
        self.pieces = pieces
        self.documents = documents
        self._rows = rows
        self._records = records

    @classmethod
    def open(cls, directory: Path | str, verify: bool | tuple[int, int] = True) -> "Store":
        """Opens a store and checks it. Presence, size, count and kind of all shards are checked always.

        Args:
          directory: of a complete store.
          verify: read every shard once to compare its checksum; as `(index, count)`, this process's share of them.

        Raises:
          StoreError: the store is missing, incomplete or of another version; a shard is missing, cut short or changed;
            or shards and description disagree. Names the file and the mend.
        """
        directory = Path(directory)
        description = _read_description(directory)
        pieces, documents = read_texts(directory, "pieces"), read_document_names(directory)
        sidecars = [_read_sidecar(directory, description, index) for index in range(len(description.shards))]
        index, count = verify if isinstance(verify, tuple) else (0, 1)
        for number, shard in enumerate(description.shards):
            _check_shard(directory / shard.file, shard, description.source, bool(verify) and number % count == index)
        files = [f"{directory.absolute() / shard.file}[0:{shard.records}]" for shard in description.shards]
        if differences := description.differences(Description.of(description.source, sidecars)):
            raise StoreError(
                f"{directory / DESCRIPTION}: not what the shards' .json files give: {', '.join(differences)}; "
                "restore the file"
            )
        return cls(description, pieces, documents, _join_rows(sidecars), grain.sources.ArrayRecordDataSource(files))

    def __len__(self) -> int:
        """Contexts in the store."""
        return len(self._records)

    def __getitem__(self, index: int) -> Context:
        """Context number `index`, from 0, as read-only views of the bytes read."""
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"context {index} of a store of {len(self)}")
        try:
            record = self._records[index]
        except RuntimeError as error:
            raise StoreError(f"context {index}: damaged ({error}); open with verify=True to find the file") from error
        return decode(record, self.description.source)

    def contexts(self, split: Split, heldout: float) -> np.ndarray:
        """Numbers, ascending, of the contexts that keep a token of `split`, a share `heldout` of documents held out."""
        return np.unique(self._rows["record"][in_split(self._rows["document"], split, heldout)])

    def tokens(self, split: Split, heldout: float) -> int:
        """Tokens kept in `split`."""
        return int(self._rows["kept"][in_split(self._rows["document"], split, heldout)].sum())


def _read_description(directory: Path) -> Description:
    if not directory.is_dir():
        raise StoreError(f"{directory}: no such directory; write a store there by an extraction or an import")
    path = directory / DESCRIPTION
    values = read_json(path) if path.exists() else {}
    if not values.get("complete"):
        finished, planned = sorted(finished_shards(directory)), values.get("planned_shards")
        if not path.exists() and not finished:
            raise StoreError(f"{directory}: no {DESCRIPTION}, so no store; write one by an extraction or an import")
        missing = "others are missing"
        if isinstance(planned, int):
            missing = f"missing {sorted(set(range(planned)) - set(finished))}"
        raise StoreError(
            f"{directory}: the store is incomplete: shards {finished} are finished, {missing}; "
            "run the extraction or import again with the same flags, and it continues"
        )
    description = Description.from_json(values, path)
    if finished_sidecar(directory, len(description.shards)):
        raise StoreError(f"{path}: lists {len(description.shards)} shards, but there are more; restore the file")
    return description


def _read_sidecar(directory: Path, description: Description, index: int) -> Sidecar:
    sidecar, shard = read_sidecar(directory, index), description.shards[index]
    differences = sidecar.source.differences(description.source)
    if sidecar.shard != shard:
        differences.append(f"shard: {vars(sidecar.shard)} -> {vars(shard)}")
    if differences:
        path = shard_path(directory, index).with_suffix(".json")
        raise StoreError(f"{path}: disagrees with {DESCRIPTION} ({'; '.join(differences)}); restore what was changed")
    return sidecar


def _join_rows(sidecars: list[Sidecar]) -> dict[str, np.ndarray]:
    """The tables `rows` of all shards as one, with records numbered through the store."""
    first_records = np.cumsum([0, *(sidecar.shard.records for sidecar in sidecars[:-1])])
    parts = [
        sidecar.rows | {"record": sidecar.rows["record"] + first}
        for sidecar, first in zip(sidecars, first_records, strict=True)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _check_shard(path: Path, shard: Shard, source: Source, verify: bool) -> None:
    remedy = "restore it, or remove it with its .json and run the extraction or import again"
    if not path.exists():
        raise StoreError(f"{path}: missing; {remedy}")
    if (size := path.stat().st_size) != shard.size:
        raise StoreError(f"{path}: {size} bytes, expected {shard.size}: cut short or overwritten; {remedy}")
    if verify and (checksum := sha256(path)) != shard.sha256:
        raise StoreError(f"{path}: sha256 {checksum}, expected {shard.sha256}: its bytes have changed; {remedy}")
    try:
        reader = ArrayRecordReader(str(path))
        count, first = reader.num_records(), reader.read([0])[0]
        reader.close()
    except (RuntimeError, IndexError) as error:
        raise StoreError(f"{path}: damaged ({error}); {remedy}") from error
    if count != shard.records:
        raise StoreError(f"{path}: {count} records, expected {shard.records}; {remedy}")
    try:
        decode(first, source)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
