"""Arrays that somebody already has become the store that an extraction would have written."""

import dataclasses
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from tcr_jax import store

SEQUENCES, LENGTH, WIDTH = 6, 16, 4


@pytest.fixture
def source():
    return store.Source(model="theirs", layer=2, width=WIDTH, context=LENGTH, dtype="float32")


@pytest.fixture
def arrays():
    x_btd = np.random.default_rng(0).normal(size=(SEQUENCES, LENGTH, WIDTH)).astype(np.float32)
    return x_btd, np.arange(SEQUENCES * LENGTH).reshape(SEQUENCES, LENGTH)


def imported(directory, *arguments, **options):
    store.import_arrays(directory, *arguments, **{"skip_first": 0, "outlier_norm": np.inf} | options)
    return store.Store.open(directory)


@pytest.mark.parametrize("kind", ["npy", "safetensors"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_files_come_in_bit_for_bit(tmp_path, source, arrays, kind, dtype):
    """.npy (of bfloat16, too) and .safetensors are imported unchanged: activations, tokens, a document a sequence."""
    x_btd, token_bt = arrays[0].astype(np.dtype(dtype)), arrays[1]
    files = {"activations": tmp_path / f"x.{kind}", "tokens": tmp_path / f"x.{kind}"}
    if kind == "npy":
        files["tokens"] = tmp_path / "tokens.npy"
        np.save(files["activations"], x_btd)
        np.save(files["tokens"], token_bt)
    else:
        safetensors.numpy.save_file({"activations": x_btd, "tokens": token_bt}, files["tokens"], {"note": "theirs"})
    opened = [store.open_array(path, name) for name, path in files.items()]
    assert all(isinstance(array, np.memmap) for array in opened)
    reader = imported(tmp_path / "store", dataclasses.replace(source, dtype=dtype), *opened)
    for number, context in enumerate(reader):
        assert context.activations_td.dtype == x_btd.dtype
        assert context.activations_td.tobytes() == x_btd[number].tobytes()
        assert context.token_t.tolist() == token_bt[number].tolist()
        assert (context.document_t == number).all() and context.kept_t.all()
    assert len(reader) == SEQUENCES and reader.pieces[17] == "<17>"


def test_contexts_of_another_length_cut_the_positions_in_order(tmp_path, source, arrays):
    """Contexts of any length hold the same positions and documents in the same order; only the end is padded."""
    x_btd, token_bt = arrays
    for context in (5, 40, 200):
        changed = dataclasses.replace(source, context=context)
        reader = imported(tmp_path / str(context), changed, x_btd, token_bt, shard_bytes=1200)
        stream = [np.concatenate(parts) for parts in zip(*reader, strict=True)]
        assert len(reader) == -(-96 // context)
        np.testing.assert_array_equal(stream[0][:96], x_btd.reshape(96, WIDTH))
        assert stream[1][:96].tolist() == list(range(96))
        assert stream[2][:96].tolist() == np.arange(6).repeat(16).tolist()
        assert stream[3][:96].all() and not stream[3][96:].any()
        assert not stream[0][96:].any() and (stream[2][96:] == -1).all()


@pytest.mark.parametrize("context", [3, 7, 16, 32])
def test_documents_padding_and_early_positions(tmp_path, source, context):
    """The first positions of each document in a context are dropped, wherever it is cut; document -1 is padding."""
    lengths, numbers = [5, 2, 9, 1, 12, 3], [7, 0, 3, 8, 9, -1]
    document_n = np.repeat(numbers, lengths)
    within_n = np.concatenate([np.arange(length) for length in lengths])
    x_nd = np.random.default_rng(1).normal(size=(32, WIDTH))
    changed = dataclasses.replace(source, context=context)
    since_start_n = np.minimum(within_n, np.arange(32) % context)
    mask_n = within_n != 6
    for skip in (0, 1, 2):
        options = {"documents": document_n, "kept": mask_n, "skip_first": skip}
        reader = imported(tmp_path / str(skip), changed, x_nd, np.arange(32), **options)
        kept_n = np.concatenate([record.kept_t for record in reader])[:32]
        assert kept_n.tolist() == ((since_start_n >= skip) & (document_n >= 0) & mask_n).tolist()
        assert np.concatenate([record.document_t for record in reader])[:32].tolist() == document_n.tolist()
        assert f"the first {skip} positions of every document" in reader.description.source.kept_policy


def test_outlier_norms_are_dropped(tmp_path, source, arrays):
    """A position over the multiple of its document's median norm is dropped, of positions kept otherwise."""
    x_btd, token_bt = np.ones_like(arrays[0]), arrays[1]
    x_btd[..., 0] += arrays[0][..., 0] / 100
    x_btd[:, :9] *= 1000
    x_btd[2, 12] *= 10
    x_btd[3, 12] *= 2
    reader = imported(tmp_path, source, x_btd, token_bt, skip_first=9, outlier_norm=3.0)
    dropped = {divmod(int(token), LENGTH) for context in reader for token in context.token_t[~context.kept_t]}
    assert dropped == {(sequence, position) for sequence in range(6) for position in range(9)} | {(2, 12)}


def test_conversion_rounds_once_and_refuses_overflow(tmp_path, source, arrays):
    """float64 is stored as the nearest of the store's dtype; what overflows float16 is named, not stored as Inf."""
    x_btd, token_bt = arrays[0].astype(np.float64), arrays[1]
    reader = imported(tmp_path / "a", dataclasses.replace(source, dtype="bfloat16"), x_btd, token_bt)
    assert reader[3].activations_td.tobytes() == x_btd[3].astype(ml_dtypes.bfloat16).tobytes()
    x_btd[4, 2, 1] = 1e5
    with pytest.raises(store.StoreError, match="context 4: .*position 2, document 4.*overflow float16"):
        imported(tmp_path / "b", dataclasses.replace(source, dtype="float16"), x_btd, token_bt)


def test_an_import_reads_a_context_at_a_time(tmp_path, source):
    """The memory taken while a mapped file is imported is a small part of the file."""
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (200, 64, 128))
    mapped[:, ::2] = 1.0
    source = dataclasses.replace(source, width=128, context=64)
    token_bt = np.zeros((200, 64), np.int32)
    tracemalloc.start()
    store.import_arrays(tmp_path / "store", source, store.open_array(tmp_path / "x.npy", "x"), token_bt)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mapped.nbytes / 8


def test_a_broken_off_import_continues_where_it_was(tmp_path, source, arrays):
    """Called again, an import writes only the shards that are missing; with other arrays or options it refuses."""
    x_btd, token_bt = arrays
    broken = x_btd.copy()
    broken[5, 3, 0] = np.nan
    options = {"shard_bytes": 2 * LENGTH * (4 * WIDTH + 9)}
    with pytest.raises(store.StoreError, match="activations: NaN or Inf at token 83, document 5; repair"):
        imported(tmp_path, source, broken, token_bt, **options)
    assert store.finished_shards(tmp_path) == {0, 1}
    first = (tmp_path / "shard-00000.array_record").stat()
    for x, tokens, other, field in [
        (x_btd, token_bt[::-1], {}, "text"),
        (x_btd + 1, token_bt, {}, "text"),
        (x_btd.astype(np.float64), token_bt, {}, "text"),
        (x_btd, token_bt, {"skip_first": 2}, "kept_policy"),
    ]:
        with pytest.raises(store.StoreError, match=f"begun with other settings \\({field}: "):
            imported(tmp_path, source, x, tokens, **options, **other)
    done = []
    reader = imported(tmp_path, source, x_btd, token_bt, **options, progress=lambda *counts: done.append(counts))
    assert done == [(1, 3), (2, 3), (3, 3)] and len(reader) == SEQUENCES
    assert (tmp_path / "shard-00000.array_record").stat().st_ino == first.st_ino
    (tmp_path / "shard-00001.array_record").unlink()  # as the error of a damaged shard advises
    assert len(imported(tmp_path, source, x_btd, token_bt, **options)) == SEQUENCES
    for name in ("shard-00001.array_record", "shard-00000.json"):  # cut short, they are written again
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
        assert len(imported(tmp_path, source, x_btd, token_bt, **options)) == SEQUENCES


BAD = {
    "width": (lambda x, t: (x[..., :3], t, {}), r"activations: shape \(6, 16, 3\), but width=4"),
    "one dimension": (lambda x, t: (x[0, 0], t, {}), r"activations: shape \(4,\)"),
    "no positions": (lambda x, t: (x[:0], t[:0], {}), r"activations: shape \(0, 16, 4\)"),
    "integers": (lambda x, t: (x.astype(int), t, {}), "activations: int64 is no floating type"),
    "token shape": (lambda x, t: (x, t[:, :9], {}), r"tokens: shape \(6, 9\), but activations are \(6, 16, 4\)"),
    "token type": (lambda x, t: (x, t * 1.0, {}), "tokens: float64 is no integer type"),
    "token range": (lambda x, t: (x, t - 100, {}), "tokens: ids from -100 to -5; they must lie between 0 and"),
    "document shape": (lambda x, t: (x, t, {"documents": t[0]}), r"documents: shape \(16,\)"),
    "document range": (lambda x, t: (x, t, {"documents": t - 2}), "documents: ids from -2 to 93"),
    "no documents": (lambda x, t: (x[0], t[0], {}), "documents: .* give a document id a token"),
    "mask shape": (lambda x, t: (x, t, {"kept": t[0] > 0}), r"kept: shape \(16,\)"),
    "mask of floats": (lambda x, t: (x, t, {"kept": t * np.nan}), "kept: float64, not all 0 or 1; give a mask"),
    "mask of indices": (lambda x, t: (x, t, {"kept": t - 1}), "kept: int64, not all 0 or 1"),
    "few pieces": (lambda x, t: (x, t, {"pieces": ["a"] * 95}), "pieces: 95 of them, but token id 95 occurs"),
}


@pytest.mark.parametrize("case", BAD)
def test_arrays_that_do_not_fit_are_named(tmp_path, source, arrays, case):
    """The argument that does not fit is named, with what was given and what is wanted; no store is begun."""
    spoil, message = BAD[case]
    x_btd, token_bt, options = spoil(*arrays)
    with pytest.raises(store.StoreError, match=message):
        imported(tmp_path / "store", source, x_btd, token_bt, **options)
    assert not (tmp_path / "store").exists()


def test_files_that_cannot_be_opened_are_named(tmp_path, arrays):
    """Missing, cut short, of an unknown kind or dtype, or without the tensor: the file is named."""
    x_btd = arrays[0]
    np.save(tmp_path / "cut.npy", x_btd)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    safetensors.numpy.save_file({"a": x_btd, "b": x_btd}, tmp_path / "two.safetensors")
    safetensors.numpy.save_file({"a": x_btd}, tmp_path / "cut.safetensors")
    safetensors.numpy.save_file({"a": x_btd.astype(np.uint8)}, tmp_path / "bytes.safetensors")
    for name in ("cut.npy", "cut.safetensors"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-50])
    (tmp_path / "stub.safetensors").write_bytes(b"12345678")
    (tmp_path / "x.txt").touch()
    (tmp_path / "empty.npy").touch()
    np.save(tmp_path / "number.npy", np.float32(3))
    for name, message in [
        ("missing.npy", "cannot be opened"),
        ("cut.npy", "cannot be opened"),
        ("objects.npy", "cannot be opened"),
        ("empty.npy", "cannot be opened"),
        ("number.npy", "holds a single number"),
        ("cut.safetensors", "cannot be opened"),
        ("stub.safetensors", "header is cut short"),
        ("two.safetensors", "no tensor 'activations' among a, b"),
        ("bytes.safetensors", "a is U8; give one of BF16"),
        ("x.txt", "unknown kind of file; give one that ends in .npy or .safetensors"),
    ]:
        with pytest.raises(store.StoreError, match=f"{name}: .*{message}"):
            store.open_array(tmp_path / name, "activations")
