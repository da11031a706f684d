"""What was written is what is read; what cannot be whole is refused; what was killed can be continued."""

import dataclasses
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tcr_jax import store
from tcr_jax.store import shards
from tcr_jax.store.description import DTYPES

PIECES = [str(token) for token in range(200)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_context_comes_back_bit_for_bit(tmp_path, source, make_context, dtype):
    """Store[i] equals context i as written, in every dtype, across shards."""
    source = dataclasses.replace(source, dtype=dtype)
    written = [make_context(number, dtype) for number in range(7)]
    store.begin(tmp_path, source, PIECES)
    store.write_shard(tmp_path, source, 1, written[4:])
    store.write_shard(tmp_path, source, 0, written[:4])
    store.finish(tmp_path, source, 2)
    read = store.Store.open(tmp_path)
    assert len(read) == 7 and read.pieces == PIECES and read.description.source == source
    for context, expected in zip(read, written, strict=True):
        for array, wanted in zip(context, expected, strict=True):
            assert array.dtype == wanted.dtype and array.tobytes() == wanted.tobytes()


def test_statistics_are_those_of_the_kept_tokens(write_store, make_context):
    """mean_d, std_d and scale are NumPy's over kept tokens, merged over shards; the counts are exact."""
    description = store.Store.open(write_store()).description
    contexts = [make_context(number) for number in range(10)]
    x_nd = np.concatenate([context.activations_td[context.kept_t] for context in contexts]).astype(np.float64)
    np.testing.assert_allclose(description.mean_d, x_nd.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(description.std_d, x_nd.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(description.scale, np.sqrt(np.mean((x_nd - x_nd.mean(axis=0)) ** 2)), rtol=1e-12)
    assert (description.tokens, description.positions, description.documents) == (70, 80, 11)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_activations_are_refused_by_name(tmp_path, source, make_context, bad):
    """NaN or Inf anywhere is an error that names shard, context, position and document, and leaves no file."""
    contexts = [make_context(number) for number in range(3)]
    contexts[2].activations_td[6, 1] = bad
    with pytest.raises(store.StoreError, match=r"shard-00000.*context 2: NaN or Inf at position 6, document 3"):
        store.write_shard(tmp_path, source, 0, contexts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("activations_td", np.zeros((8, 6), np.float32), r"activations_td is float32 .*takes bfloat16 \(8, 6\)"),
        ("activations_td", np.zeros((8, 7), DTYPES["bfloat16"]), r"activations_td is bfloat16 \(8, 7\)"),
        ("token_t", np.zeros(7, np.int32), r"token_t is int32 \(7,\)"),
        ("token_t", np.zeros(8, np.int64), r"token_t is int64"),
        ("token_t", np.full(8, -1, np.int32), r"token ids start at 0"),
        ("document_t", np.full(8, -1, np.int32), r"position 1 is kept but belongs to no document"),
        ("document_t", np.full(8, -2, np.int32), r"position 1 is kept but belongs to no document"),
        ("kept_t", np.ones(8, np.int8), r"kept_t is int8"),
    ],
)
def test_contexts_that_do_not_fit_are_refused(tmp_path, source, make_context, field, value, message):
    """A field of another shape, dtype or range is named, with what this store takes."""
    with pytest.raises(store.StoreError, match=message):
        store.write_shard(tmp_path, source, 0, [make_context(0)._replace(**{field: value})])


def test_a_shard_without_contexts_is_refused(tmp_path, source):
    """An empty shard has nothing to read: it is an error of the plan."""
    with pytest.raises(store.StoreError, match="no contexts"):
        store.write_shard(tmp_path, source, 0, [])


def test_errors_of_the_contexts_themselves_pass_through(tmp_path, source, make_context):
    """What goes wrong while contexts are made (a model's RuntimeError) is not taken for a fault of the disk."""

    def failing():
        yield make_context(0)
        raise RuntimeError("the model failed")

    with pytest.raises(RuntimeError, match="the model failed"):
        store.write_shard(tmp_path, source, 0, failing())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_and_finished_shards_stay(tmp_path, source, make_context):
    """A shard that the disk does not take is an error that names it; the shards before it stay finished."""
    store.begin(tmp_path, source, PIECES)
    store.write_shard(tmp_path, source, 0, [make_context(0)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(store.StoreError, match=r"shard-00001.*not written.*File too large.*run again"):
            store.write_shard(tmp_path, source, 1, (make_context(number % 9) for number in range(5000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.finished_shards(tmp_path) == {0}
    assert not list(tmp_path.glob("*.partial"))


POINTS = {
    "in a shard": r"\[0\] are finished, missing \[1, 2\]",
    "before the rename of a shard": r"\[0\] are finished, missing \[1, 2\]",
    "before a sidecar": r"\[0\] are finished, missing \[1, 2\]",
    "before the end": r"\[0, 1, 2\] are finished, missing \[\]",
}

WRITERS = """
    import os, signal, sys
    import numpy as np
    from tcr_jax import store
    from tcr_jax.store import shards

    source = store.Source(model="tiny", layer=3, width=6, context=8, dtype="float32")

    def die(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    def contexts(index, point):
        for number in range(4):
            if (point, index, number) == ("in a shard", 1, 2):
                die()
            x_td = np.random.default_rng(4 * index + number).normal(size=(8, 6)).astype(np.float32)
            yield store.Context(x_td, np.arange(8, dtype=np.int32), np.full(8, index, np.int32), np.ones(8, bool))

    def write(directory, point):
        store.begin(directory, source, [str(token) for token in range(8)], 3)
        for index in sorted({0, 1, 2} - store.finished_shards(directory)):
            if (point, index) == ("before the rename of a shard", 1):
                shards.publish = die
            if (point, index) == ("before a sidecar", 1):
                shards.write_json = die
            store.write_shard(directory, source, index, contexts(index, point))
        if point == "before the end":
            die()
        store.finish(directory, source, 3)

    die_there = sys.argv[1] == "killed"
    for directory in sys.argv[2:]:  # a process for each: importing once saves seconds
        if not os.fork():
            write(directory, os.path.basename(directory) if die_there else "")
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def run_writers(mode: str, directories: list[Path]) -> list[int]:
    """Exit codes of one writer a directory; `killed` writers die at the point that their directory is named after."""
    command = [sys.executable, "-c", textwrap.dedent(WRITERS), mode, *map(str, directories)]
    return [int(code) for code in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]


def test_a_killed_writer_is_seen_and_continued(tmp_path):
    """Killed anywhere, a store says what it lacks; continued, its files equal those of a run that was not killed."""
    whole, killed = tmp_path / "whole", [tmp_path / point for point in POINTS]
    assert run_writers("killed", [whole, *killed]) == [0, *[-signal.SIGKILL] * len(killed)]
    for directory, finished in zip(killed, POINTS.values(), strict=True):
        with pytest.raises(store.StoreError, match=f"incomplete: shards {finished}.*same flags"):
            store.Store.open(directory)
    assert run_writers("continued", killed) == [0] * len(killed)
    expected = {path.name: path.read_bytes() for path in whole.iterdir()}
    for directory in killed:
        store.Store.open(directory)
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == expected


def test_a_shard_that_is_replaced_is_never_beside_the_old_sidecar(tmp_path, source, make_context, monkeypatch):
    """A rewrite that fails early leaves the old shard finished; one that is broken off later leaves it unfinished."""
    store.write_shard(tmp_path, source, 0, [make_context(0)])
    with pytest.raises(store.StoreError, match="no contexts"):
        store.write_shard(tmp_path, source, 0, [])
    assert store.finished_shards(tmp_path) == {0}

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write_shard(tmp_path, source, 0, [make_context(1)])
    assert store.finished_shards(tmp_path) == set()


def test_two_may_write_the_same_shard_at_once(tmp_path, source, make_context):
    """Each writes a file of its own: what the quicker one wrote stays in its place, and nothing else is left."""
    files = tmp_path / "shard-00000.array_record", tmp_path / "shard-00000.json"
    store.begin(tmp_path, source, PIECES)

    def interrupted_by_the_other():
        yield make_context(0)
        store.write_shard(tmp_path, source, 0, map(make_context, range(2)))
        places.extend(file.stat().st_ino for file in files)
        yield make_context(1)

    places = []
    store.write_shard(tmp_path, source, 0, interrupted_by_the_other())
    store.finish(tmp_path, source, 1)
    assert places == [file.stat().st_ino for file in files]
    assert [context.token_t[0] for context in store.Store.open(tmp_path)] == [0, 8]
    assert not list(tmp_path.glob("*.partial"))


def test_many_may_begin_at_once(tmp_path, source):
    """Writers that begin the same store at the same time all succeed, and leave one that can be continued."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.begin(tmp_path, source, PIECES), range(32)))
    assert {path.name for path in tmp_path.iterdir()} == {"store.json", "pieces.json"}
    store.begin(tmp_path, source, PIECES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": 4, "model": "other"}, "model: 'tiny' -> 'other'; layer: 3 -> 4"),
        ({"text": "other text"}, "text: '' -> 'other text'"),
        ({"pieces": ["a"]}, "pieces: other texts"),
        ({"documents": ["b"]}, "documents: other names"),
        ({"shards": 3}, "shards: 2 -> 3"),
    ],
)
def test_a_store_is_continued_only_as_it_was_begun(tmp_path, source, change, message):
    """begin() with another source, other pieces or another plan names each field; with the same it changes nothing."""
    plan = {"pieces": PIECES, "documents": ["a"], "shards": 2}
    store.begin(tmp_path, source, **plan)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    store.begin(tmp_path, source, **plan)
    other = dataclasses.replace(source, **{name: value for name, value in change.items() if name not in plan})
    with pytest.raises(store.StoreError, match=message):
        store.begin(tmp_path, other, **{name: change.get(name, value) for name, value in plan.items()})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_of_documents_are_kept_where_they_are_given(tmp_path, source, make_context):
    """Store.documents is what begin was given, survives pickling, and is None in stores without names."""
    for directory, names in ((tmp_path / "named", ["legal/a", "xml/b"]), (tmp_path / "nameless", None)):
        store.begin(directory, source, PIECES, 1, names)
        store.write_shard(directory, source, 0, [make_context(0)])
        store.finish(directory, source, 1)
        store.begin(directory, source, PIECES, 1)  # one who does not know them may continue
        assert pickle.loads(pickle.dumps(store.Store.open(directory))).documents == names


def test_begin_leaves_a_complete_store_as_it_is(write_store, source):
    """begin() and finish() on a complete store change nothing: it never turns incomplete again."""
    directory = write_store()
    before = (directory / "store.json").read_bytes()
    store.begin(directory, source, store.Store.open(directory).pieces)
    assert (directory / "store.json").read_bytes() == before
    store.finish(directory, source, 2)
    assert (directory / "store.json").read_bytes() == before


def test_finish_needs_exactly_the_planned_shards(tmp_path, source, make_context):
    """Shards that are missing, surplus, or of another source are named, and the store stays incomplete."""
    store.begin(tmp_path, source, PIECES)
    for index in (0, 2):
        store.write_shard(tmp_path, source, index, [make_context(0)])
    with pytest.raises(store.StoreError, match=r"shards \[1\] of 3 are missing"):
        store.finish(tmp_path, source, 3)
    with pytest.raises(store.StoreError, match=r"shards \[2\] are beyond the 1 planned"):
        store.finish(tmp_path, source, 1)
    store.write_shard(tmp_path, dataclasses.replace(source, layer=4), 1, [make_context(0)])
    with pytest.raises(store.StoreError, match=r"shard-00001.json: of another source \(layer: 3 -> 4\)"):
        store.finish(tmp_path, source, 3)
    with pytest.raises(store.StoreError, match="incomplete"):
        store.Store.open(tmp_path)


def test_finish_refuses_what_cannot_be_read_or_trained_on(tmp_path, source, make_context):
    """A token id without text, no kept token, or activations that never vary are refused."""
    context = make_context(0)
    for changed, pieces, message in [
        (context, ["a"] * 7, "7 pieces, none for token id 7"),
        (context._replace(kept_t=np.zeros(8, bool)), PIECES, "0 tokens kept.*dropped now: one in 8"),
        (context._replace(activations_td=np.ones_like(context.activations_td)), PIECES, "7 tokens kept, and nothing"),
    ]:
        directory = tmp_path / str(len(message))
        store.begin(directory, source, pieces)
        store.write_shard(directory, source, 0, [changed])
        with pytest.raises(store.StoreError, match=message):
            store.finish(directory, source, 1)


def test_an_impossible_source_is_refused():
    """A dtype that cannot be stored, or a size below 1, is named when the source is created."""
    with pytest.raises(store.StoreError, match="dtype='int8'"):
        store.Source(model="m", layer=0, width=1, context=1, dtype="int8")
    with pytest.raises(store.StoreError, match="context=0"):
        store.Source(model="m", layer=0, width=1, context=0, dtype="float16")
