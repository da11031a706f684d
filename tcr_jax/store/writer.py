"""Writes a store shard by shard. What a killed writer leaves says that it is incomplete, and can be continued.

    begin(directory, source, pieces)                        # store.json: complete = false
    for index in set(range(shards)) - finished_shards(directory):
        write_shard(directory, source, index, contexts)      # any process, any order
    finish(directory, source, shards)                        # store.json: complete = true
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tcr_jax.files import PARTIAL
from tcr_jax.store.description import DESCRIPTION, Description, Source
from tcr_jax.store.files import FORMAT, StoreError, read_json, write_json
from tcr_jax.store.shards import finished_sidecars, shard_path
from tcr_jax.store.texts import read_document_names, read_texts, texts_path, write_texts


def begin(
    directory: Path | str,
    source: Source,
    pieces: Sequence[str],
    shards: int | None = None,
    documents: Sequence[str] | None = None,
) -> None:
    """Creates a store that says it is incomplete, or opens one again to continue it.

    Args:
      directory: created where missing.
      source: what the activations are.
      pieces: printable text of every token id.
      shards: how many there will be, where known: lets an incomplete store name those it lacks.
      documents: name of every document, by its number, where known.

    Raises:
      StoreError: the store that is there was begun with another source, pieces, documents or number of shards.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / DESCRIPTION
    if not path.exists():
        write_texts(directory, "pieces", pieces)
        if documents is not None:
            write_texts(directory, "documents", documents)
        stub = {"complete": False, "source": dataclasses.asdict(source), "planned_shards": shards}
        write_json(path, {"format": FORMAT, **stub})
        return
    begun = read_json(path)
    differences = Source.from_json(begun, path).differences(source)
    if read_texts(directory, "pieces") != list(pieces):
        differences.append("pieces: other texts for the token ids")
    named = read_document_names(directory)
    if documents is not None and named is not None and named != list(documents):
        differences.append("documents: other names")
    complete = begun.get("complete")
    planned = len(Description.from_json(begun, path).shards) if complete else begun.get("planned_shards")
    if planned is not None and shards is not None and planned != shards:
        differences.append(f"shards: {planned} -> {shards}")
    if differences:
        raise StoreError(
            f"{path}: begun with other settings ({'; '.join(differences)}); "
            "continue with the same ones, or write to another directory"
        )


def finish(directory: Path | str, source: Source, shards: int) -> Description:
    """Declares the store complete, once shards 0 to `shards - 1` are there. Doing so again changes nothing.

    What killed writers left of shards is removed.

    Raises:
      StoreError: a shard is missing, or beyond the plan, or of another source; a token id has no piece; or no token
        was kept.
    """
    directory = Path(directory)
    sidecars, planned = finished_sidecars(directory), set(range(shards))
    if missing := sorted(planned - set(sidecars)):
        raise StoreError(f"{directory}: shards {missing} of {shards} are missing; write them, then finish")
    if surplus := sorted(set(sidecars) - planned):
        raise StoreError(f"{directory}: shards {surplus} are beyond the {shards} planned; remove them, then finish")
    for index, sidecar in sidecars.items():
        if differences := source.differences(sidecar.source):
            path = shard_path(directory, index).with_suffix(".json")
            raise StoreError(f"{path}: of another source ({'; '.join(differences)}); remove it and run again")
    pieces = read_texts(directory, "pieces")
    largest = max((sidecar.largest_token for sidecar in sidecars.values()), default=0)
    if largest >= len(pieces):
        path = texts_path(directory, "pieces")
        raise StoreError(f"{path}: {len(pieces)} pieces, none for token id {largest}; give one an id")
    description = Description.of(source, list(sidecars.values()))
    if not description.scale > 0:
        raise StoreError(
            f"{directory}: {description.tokens} tokens kept, and nothing varies among them; "
            f"check the activations, or drop fewer positions (dropped now: {source.kept_policy or 'not said'})"
        )
    write_json(directory / DESCRIPTION, description.to_json())
    for partial in directory.glob(f"shard-*{PARTIAL}"):
        partial.unlink(missing_ok=True)
    return description
