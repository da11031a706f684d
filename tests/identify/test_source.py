"""Data in: arrays, stores and streams are the same batches; large streams are read anew, small ones kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcr_jax.identify import Batches, NotIdentifiable
from tcr_jax.identify import source as module
from tcr_jax.identify.source import as_batches, broken, fingerprint, remembered
from tcr_jax.store import Store
from tcr_jax.worlds import WorldConfig, make_world, write_store

WORLD = make_world(WorldConfig(latents=4, parents=1.0, context=10))


def tokens(batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    """All that are kept, with their documents, in order."""
    parts = [(np.asarray(x_btd), np.asarray(document_bt)) for x_btd, document_bt in batches()]
    x_btd, document_bt = (np.concatenate(of) for of in zip(*parts, strict=True))
    return x_btd[document_bt >= 0], document_bt[document_bt >= 0]


def test_other_data_have_another_fingerprint() -> None:
    """Where they begin otherwise, belong to other documents, or are more; the same data have the same."""
    x_btd, document_bt = map(np.asarray, next(WORLD.batches(7, batch=7)()))

    def of(data: Any, documents: np.ndarray | None = None) -> dict[str, Any]:
        return fingerprint(data, as_batches(data, documents))

    others = [of(x_btd[:-1]), of(x_btd[::-1]), of(x_btd, document_bt // 2), of(WORLD.batches(7, batch=7, fold=1))]
    assert of(x_btd) == of(x_btd.copy(), document_bt)
    assert all(of(x_btd) != other for other in others)
    assert of(WORLD.batches(7, batch=7)) == of(WORLD.batches(7, batch=7))


def test_arrays_stores_and_streams_hold_the_same_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of one shape, the last of them filled up with dropped positions; at every reading."""
    monkeypatch.setattr(module, "NUMBERS", 3 * 10 * 4)
    write_store(WORLD, tmp_path, sequences=7)
    stream = WORLD.batches(7, batch=7)
    x_btd, document_bt = next(stream())
    for data in (np.asarray(x_btd), Store.open(tmp_path), WORLD.batches(7, batch=3), stream):
        batches = as_batches(data)
        assert {x_btd.shape for x_btd, _ in batches()} == ({(7, 10, 4)} if data is stream else {(3, 10, 4)})
        for _ in range(2):
            found_nd, found_n = tokens(batches)
            np.testing.assert_allclose(found_nd, np.asarray(x_btd).reshape(-1, 4), rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(found_n, np.asarray(document_bt).reshape(-1))


def test_documents_of_an_array_are_taken_over() -> None:
    """Drops and boundaries as given."""
    document_bt = np.array([[0, 0, 1], [-1, 2, 2]])
    x_btd = np.arange(12.0).reshape(2, 3, 2)
    found_nd, found_n = tokens(as_batches(x_btd, document_bt))
    assert found_n.tolist() == [0, 0, 1, 2, 2]
    np.testing.assert_array_equal(found_nd, x_btd[document_bt >= 0])


@pytest.mark.parametrize(("limit", "readings"), [(10**9, 1), (200, 3)])
def test_what_fits_is_read_once(limit: int, readings: int) -> None:
    """A reading that broke off counts for nothing, and what is more than the limit is read anew each time."""
    started = []

    def counted() -> Iterator[Any]:
        started.append(1)
        yield from WORLD.batches(6, batch=2)()

    batches = remembered(counted, limit)
    next(batches())
    assert len(started) == 1
    expected_nd, _ = tokens(WORLD.batches(6, batch=2))
    for _ in range(3):
        np.testing.assert_array_equal(tokens(batches)[0], expected_nd)
    assert len(started) == 1 + readings


X_BTD = np.zeros((2, 3, 4))
ONCE = iter([(X_BTD, np.zeros((2, 3), int))])


@pytest.mark.parametrize(
    ("data", "document_bt", "message"),
    [
        (X_BTD[0], None, r"activations of shape \(3, 4\): give \[sequences, tokens, width\]"),
        (X_BTD[:0], None, r"activations of shape \(0, 3, 4\)"),
        (X_BTD, np.zeros((2, 4), int), r"document_bt of shape \(2, 4\): give one a token, \(2, 3\)"),
        (lambda: ONCE, None, "read once only: give a function"),
        (lambda: iter([(X_BTD[0], np.zeros(3, int))]), None, r"activations of shape \(3, 4\)"),
        (lambda: iter([(X_BTD, np.zeros(2, int))]), None, r"document_bt of shape \(2,\)"),
        (WORLD.batches(2), np.zeros((2, 10), int), "bring their own; leave it out"),
        ([np.zeros((3, 4)), np.zeros((2, 4))], None, "different shapes: pad .* mark the padding by document_bt -1"),
        (X_BTD + 0j, None, "type complex128: give real numbers"),
        (np.full(X_BTD.shape, "a"), None, "type <U1: give real numbers"),
        ("a path", None, "type <U6: give real numbers"),
    ],
    ids=[
        "2-D",
        "empty",
        "documents",
        "iterator",
        "2-D batch",
        "documents of a batch",
        "documents of a stream",
        "ragged",
        "complex",
        "words",
        "path",
    ],
)
def test_other_shapes_are_refused(data: Any, document_bt: Any, message: str) -> None:
    """With the shape that is there and the one that is wanted."""
    with pytest.raises(NotIdentifiable, match=message):
        tokens(as_batches(data, document_bt))


def test_what_is_broken_is_placed() -> None:
    """How many, which channels, and where the first is: sequences counted over batches, dropped tokens left out."""
    x_btd = np.zeros((5, 3, 4), np.float32)
    document_bt = np.zeros((5, 3), int)
    x_btd[2, 1, 3], document_bt[2, 1] = np.nan, -1
    x_btd[3, 2, 1], x_btd[4, 0, 2] = -np.inf, np.nan

    def pairs() -> Iterator[Any]:
        yield from ((x_btd[first : first + 2], document_bt[first : first + 2]) for first in (0, 2, 4))

    words = broken(pairs)
    assert words.startswith(
        "2 activations are NaN or infinite, in channels 1, 2; the first is -inf, at sequence 3, token 2"
    )
    x_btd[3, 2, 1], x_btd[4, 0, 2] = -1e30, 1
    assert "the largest is -1e+30, at sequence 3, token 2, channel 1: scale them down" in broken(pairs)


def test_a_stream_that_is_spent_or_empty_is_refused() -> None:
    """Also behind a function that hides it."""
    batches = iter([(X_BTD + number, np.zeros((2, 3), int)) for number in range(3)])
    with pytest.raises(NotIdentifiable, match="begins otherwise at its second reading"):
        as_batches(lambda: (batch for batch in batches))
    with pytest.raises(NotIdentifiable, match="the stream is empty"):
        as_batches(lambda: iter([]))


def test_batches_of_another_shape_are_placed() -> None:
    """By their number."""
    with pytest.raises(NotIdentifiable, match=r"batch 2 of the stream has shape \(2, 3, 5\), the first \(2, 3, 4\)"):
        tokens(as_batches(lambda: iter([(np.zeros((2, 3, d)), np.zeros((2, 3), int)) for d in (4, 5)])))


@pytest.mark.parametrize("document", [2**31, -(2**31) - 1, 0.5, np.nan, "first"])
def test_documents_that_are_no_numbers_of_32_bits_are_refused(document: Any) -> None:
    """Wrapped round they would pass for dropped tokens, or for one document."""
    documents = np.full((2, 3), document)
    for data, given in ((X_BTD, documents), (lambda: iter([(X_BTD, documents)]), None)):
        with pytest.raises(NotIdentifiable, match="no whole number of 32 bits: number documents from 0"):
            tokens(as_batches(data, given))


def test_every_activation_and_document_counts_for_a_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of arrays also in later batches; of stores too."""
    monkeypatch.setattr(module, "NUMBERS", 3 * 10 * 4)
    x_btd, document_bt = map(np.asarray, next(WORLD.batches(7, batch=7)()))
    changed_btd, changed_bt = x_btd.copy(), document_bt.copy()
    changed_btd[-1, -1, -1] += 1
    changed_bt[-1, -1] = -1
    write_store(WORLD, tmp_path / "one", sequences=7)
    write_store(WORLD, tmp_path / "other", sequences=7, fold=1)
    stores = [Store.open(tmp_path / name) for name in ("one", "other")]
    arrays = [(x_btd, document_bt), (changed_btd, document_bt), (x_btd, changed_bt)]
    given = arrays + [(store, None) for store in stores]
    found = [fingerprint(data, as_batches(data, documents))["data"] for data, documents in given]
    assert len(set(found)) == len(found)
