"""A store that is whole opens; any damage is named, with its file and what to do."""

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tcr_jax import store

SHARD = "shard-00001.array_record"


def flip_byte(path: Path, context: store.Context) -> None:
    """Flips a bit in the activations of a context."""
    data = bytearray(path.read_bytes())
    data[data.index(context.activations_td.tobytes())] ^= 1
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def edit(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        values = json.loads((directory / name).read_text())
        change(values)
        (directory / name).write_text(json.dumps(values))

    return damage


DAMAGES = {
    "missing directory": (shutil.rmtree, "store: no such directory; write a store there"),
    "no store in it": (lambda d: [path.unlink() for path in d.iterdir()], "store: no store.json, so no store"),
    "description missing": (lambda d: (d / "store.json").unlink(), r"incomplete: shards \[0, 1\].*same flags"),
    "description damaged": (lambda d: cut_short(d / "store.json"), "store.json: damaged, not JSON"),
    "no description": (lambda d: (d / "store.json").write_text("[]"), "store.json: format None"),
    "unknown version": (edit("store.json", lambda v: v.update(format=99)), "store.json: format 99, but .* reads 1"),
    "field missing": (edit("store.json", lambda v: v.pop("scale")), "store.json: not the description.*'scale'"),
    "field unknown": (edit("store.json", lambda v: v.update(colour=1)), "store.json: not the description.*'colour'"),
    "source damaged": (edit("store.json", lambda v: v["source"].pop("width")), "store.json: `source`.*'width'"),
    "pieces missing": (lambda d: (d / "pieces.json").unlink(), "pieces.json: no such file"),
    "pieces damaged": (lambda d: (d / "pieces.json").write_text('{"format": 1}'), "pieces.json: holds no list"),
    "names damaged": (lambda d: (d / "documents.json").write_text('{"format": 1}'), "documents.json: holds no list"),
    "shard missing": (lambda d: (d / SHARD).unlink(), f"{SHARD}: missing; restore it"),
    "shard cut short": (lambda d: cut_short(d / SHARD), f"{SHARD}: .* bytes, expected .*cut short"),
    "flipped byte": (lambda d: flip_byte(d / SHARD, store.Store.open(d)[7]), f"{SHARD}: sha256 .+, expected .+"),
    "sidecar missing": (lambda d: (d / "shard-00001.json").unlink(), "shard-00001.json: no such file"),
    "other width": (edit("store.json", lambda v: v["source"].update(width=3)), "width: 6 -> 3"),
    "other context": (edit("store.json", lambda v: v["source"].update(context=9)), "context: 8 -> 9"),
    "other dtype": (edit("store.json", lambda v: v["source"].update(dtype="float16")), "'bfloat16' -> 'float16'"),
    "other count": (edit("store.json", lambda v: v["shards"][1].update(records=4)), "shard-00001.json: disagrees"),
    "other rows": (edit("shard-00001.json", lambda v: v["rows"].update(kept=[1] * 10)), "in rows: 10, in all: 35"),
    "rows beyond": (edit("shard-00001.json", lambda v: v["rows"].update(record=[5] * 10)), "00001.json: .*among its 5"),
    "rows cut short": (edit("shard-00001.json", lambda v: v["rows"]["kept"].pop()), "00001.json: .*unequal length"),
    "rows missing": (edit("shard-00001.json", lambda v: v.pop("rows")), "00001.json: not what is said .*'rows'"),
    "rows of another kind": (edit("shard-00001.json", lambda v: v.update(rows=[])), "00001.json: not what is said"),
    "shard damaged": (edit("shard-00001.json", lambda v: v.update(shard=3)), "00001.json: not what is said"),
    "other mean": (edit("store.json", lambda v: v["mean_d"].pop()), "store.json: not what .* give: mean_d; restore"),
    "other scale": (edit("store.json", lambda v: v.update(scale=9.0, tokens=1)), "give: tokens, scale; restore"),
    "scale of another kind": (edit("store.json", lambda v: v.update(scale=[])), "store.json: not the description"),
    "shard left out": (edit("store.json", lambda v: v["shards"].pop()), "store.json: lists 1 shards, but there are"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(write_store, damage):
    """Each kind of damage is an error that names the file, what is wrong, and how to mend it."""
    directory = write_store()
    inflict, message = DAMAGES[damage]
    inflict(directory)
    with pytest.raises(store.StoreError, match=message):
        store.Store.open(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"records": 6}, "5 records, expected 6"), ({"context": 9}, "a record of 168 bytes, but width=6, context=9")],
)
def test_files_are_held_against_their_metadata(write_store, change, message):
    """Where description and sidecar agree but the shard itself is another, its count and record size tell."""
    directory = write_store()
    for name in ("store.json", "shard-00000.json", "shard-00001.json"):
        values = json.loads((directory / name).read_text())
        for part in (*values.get("shards", []), values.get("shard", {}), values["source"]):
            part.update({field: value for field, value in change.items() if field in part})
        (directory / name).write_text(json.dumps(values))
    with pytest.raises(store.StoreError, match=f"shard-00000.array_record: {message}"):
        store.Store.open(directory)


def test_processes_share_the_verification(write_store, make_context):
    """With verify=(i, n) a changed shard is found by the process whose share it is; unverified, when it is read."""
    directory = write_store(shards=3)
    flip_byte(directory / SHARD, make_context(7))
    store.Store.open(directory, verify=(0, 2))
    with pytest.raises(store.StoreError, match=SHARD):
        store.Store.open(directory, verify=(1, 2))
    reader = store.Store.open(directory, verify=False)
    assert reader[6].token_t[0] == 48
    with pytest.raises(store.StoreError, match="context 7: damaged.*hash.*verify"):
        reader[7]


def test_partial_files_are_ignored(write_store):
    """What a killed writer was in the middle of is neither read nor in the way."""
    directory = write_store()
    (directory / "shard-00002.partial").write_bytes(b"half")
    (directory / "store.json.123.partial").write_bytes(b"half")
    assert len(store.Store.open(directory)) == 10


def test_a_store_holds_its_index_not_its_activations(write_store, make_context):
    """A store can be pickled, small whatever its shards hold, and reads the same from many threads."""
    pickled = pickle.dumps(store.Store.open(write_store(shards=4)))
    assert len(pickled) < 12_000  # the shards hold half a megabyte
    reader = pickle.loads(pickled)
    with ThreadPoolExecutor(4) as pool:
        contexts = list(pool.map(reader.__getitem__, range(20)))
    for number, context in enumerate(contexts):
        assert context.activations_td.tobytes() == make_context(number).activations_td.tobytes()


def test_contexts_are_numbered_from_zero(write_store):
    """NumPy integers index a store; beyond its ends it raises IndexError, as sequences do."""
    reader = store.Store.open(write_store())
    assert reader[np.int64(9)].token_t[0] == 72
    for index in (-1, 10):
        with pytest.raises(IndexError, match=f"context {index} of a store of 10"):
            reader[index]


def test_contexts_and_tokens_of_a_split_are_known_without_reading(write_store):
    """contexts() and tokens() equal what enumerating every kept position gives."""
    reader = store.Store.open(write_store(shards=6))
    for split, heldout in [("train", 0.3), ("heldout", 0.3), ("heldout", 0.0), ("all", 0.3)]:
        document_nt = np.array([np.where(context.kept_t, context.document_t, -1) for context in reader])
        usable_nt = document_nt >= 0
        if split != "all":
            usable_nt &= store.is_heldout(document_nt, heldout) == (split == "heldout")
        assert reader.contexts(split, heldout).tolist() == np.flatnonzero(usable_nt.any(axis=1)).tolist()
        assert reader.tokens(split, heldout) == usable_nt.sum()


def test_a_shard_that_keeps_nothing_is_read(tmp_path, source, make_context):
    """A shard whose positions were all dropped is no obstacle: its contexts are in no split."""
    store.begin(tmp_path, source, [str(token) for token in range(16)])
    for index, kept in enumerate([False, True]):
        context = make_context(index)
        store.write_shard(tmp_path, source, index, [context._replace(kept_t=context.kept_t & kept)])
    store.finish(tmp_path, source, 2)
    contexts = store.Store.open(tmp_path).contexts("all", 0.1)
    assert contexts.tolist() == [1] and np.issubdtype(contexts.dtype, np.integer)


def test_a_description_survives_json(write_store):
    """Description -> JSON -> Description is the identity, statistics to the last bit."""
    description = store.Store.open(write_store()).description
    text = json.dumps(description.to_json())
    again = store.Description.from_json(json.loads(text), Path("store.json"))
    assert json.dumps(again.to_json()) == text and again.source == description.source
    assert dataclasses.asdict(again.shards[1]) == dataclasses.asdict(description.shards[1])
