"""Laws of the sources of text."""

import json
import os
import sys
from pathlib import Path

import pytest

from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.python_docs import CHARACTERS, beginning, python_docs
from tcr_jax.extract.text import read_documents


def texts(*sources: Path | str, text_field: str = "text") -> list[str]:
    return [document.text for document in read_documents(map(str, sources), text_field)]


def test_same_text_is_read_once(tmp_path: Path) -> None:
    """A second copy of a text is left out, whichever source it is in; blank texts are too."""
    (tmp_path / "a.txt").write_text("same")
    (tmp_path / "b.txt").write_text("same")
    (tmp_path / "c.txt").write_text("other")
    (tmp_path / "d.txt").write_text(" \n")
    assert sorted(texts(tmp_path, tmp_path / "a.txt")) == ["other", "same"]


def test_directory_gives_visible_text_files(tmp_path: Path) -> None:
    """Hidden files, files in hidden directories and files that are not text are left out; subdirectories are read."""
    (tmp_path / "deep").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep" / "page.md").write_text("caf\u00e9", encoding="utf-8")
    (tmp_path / ".git" / "config").write_text("hidden")
    (tmp_path / ".notes").write_text("hidden")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "zeros.bin").write_bytes(b"a\0b")
    assert texts(tmp_path) == ["caf\u00e9"]


def test_directory_order_does_not_depend_on_the_place(tmp_path: Path) -> None:
    """The order of a directory's files is that of their relative paths' hashes: the same in a copy of it."""
    for copy in ("one", "two"):
        (tmp_path / copy).mkdir()
        for number in range(20):
            (tmp_path / copy / f"{number}.txt").write_text(str(number))
    first = texts(tmp_path / "one")
    assert first == texts(tmp_path / "two") and first != sorted(first, key=int)


def test_json_lines(tmp_path: Path) -> None:
    """Each line of a .jsonl file is a document, named by file and line; blank lines are none."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"body": "one"}\n\n{"body": "two", "text": "no"}\n')
    documents = list(read_documents([str(path)], "body"))
    assert [document.text for document in documents] == ["one", "two"]
    assert documents[1].name == f"{path}:3"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"body": "x"}', "no text in field 'text'; set text_field to one of: body"),
        ('{"text": 3}', "no text in field 'text'"),
        ("{broken", "not JSON"),
        ("[1]", "not a JSON object"),
    ],
)
def test_bad_json_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    """A line that gives no text is named by file and line."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(ExtractError, match="rows.jsonl:2: ") as error:
        texts(path)
    assert reason in str(error.value)


def test_missing_source_is_named() -> None:
    """A source that does not exist is an error that says what may be given."""
    with pytest.raises(ExtractError, match="no/such: no such file or directory; give a file, .* python-docs"):
        texts("no/such")


def test_empty_source_is_named(tmp_path: Path) -> None:
    """A source without text is an error, also beside one that has some."""
    (tmp_path / "blank.txt").write_text("\n")
    (tmp_path / "full.txt").write_text("full")
    with pytest.raises(ExtractError, match="blank.txt: no text in it"):
        texts(tmp_path / "full.txt", tmp_path / "blank.txt")


def test_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    """A file given by name that is not UTF-8 is an error with the place."""
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ExtractError, match="latin.txt: not UTF-8 at byte 3"):
        texts(tmp_path / "latin.txt")


@pytest.mark.parametrize("line", [b'{"text": "caf\xe9"}', rb'{"text": "caf\ud83d"}'])
def test_a_json_line_that_is_not_unicode_is_named(tmp_path: Path, line: bytes) -> None:
    """Another encoding, or half a surrogate pair: the error has the file, the line and the place."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "caf\xc3\xa9"}\n' + line + b"\n")
    with pytest.raises(ExtractError, match="rows.jsonl:2: its text is not UTF-8 at character 3"):
        texts(path)


def test_a_file_name_that_is_not_unicode_is_named(tmp_path: Path) -> None:
    """Of a file in a directory, or of the source itself; a picture may be called what it likes."""
    (tmp_path / "a.txt").write_text("one")
    named = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(named).write_bytes(b"\x89PNG\0")
    assert texts(tmp_path) == ["one"]
    Path(named).write_text("two")
    for source, place in ((tmp_path, 3), (named, len(named) - 1)):
        with pytest.raises(ExtractError, match=rf"caf\\udce9: its name is not UTF-8 at character {place}"):
            texts(source)


def test_python_docs_are_many_short_and_fixed() -> None:
    """The embedded text is the same twice, mixed, in small pieces: 60 documents in its first 200,000 characters."""
    documents = list(python_docs())
    assert documents == list(python_docs())
    assert max(len(text) for _, text in documents) <= CHARACTERS
    assert sum(len(text) for _, text in documents[:60]) <= 200_000
    assert {name.split()[0] for name, _ in documents[:60]} == {"topic", "library"}
    assert sum(len(text) for _, text in documents) > 1_000_000


def test_dataset_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset's name without the package `datasets` says what to install."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ExtractError, match="datasets:owner/name: .*pip install 'tcr_jax.datasets.'"):
        texts("datasets:owner/name")


def test_dataset_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NAME:CONFIG:SPLIT reaches the package as such, rows are streamed, and a failure names the dataset."""
    stub = """
import json
def load_dataset(name, config, split, streaming):
    if name == "missing":
        raise FileNotFoundError("nowhere")
    return [{"body": json.dumps([name, config, split, streaming])}]
"""
    (tmp_path / "datasets.py").write_text(stub)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    (row,) = texts("datasets:owner/name:small:test", text_field="body")
    assert json.loads(row) == ["owner/name", "small", "test", True]
    (row,) = texts("datasets:name", text_field="body")
    assert json.loads(row) == ["name", None, "train", True]
    with pytest.raises(ExtractError, match="datasets:missing: not loaded .nowhere."):
        texts("datasets:missing")
    with pytest.raises(ExtractError, match="datasets:name, row 0: no text in field 'text'"):
        texts("datasets:name")
    monkeypatch.delitem(sys.modules, "datasets")


def test_directory_files_are_named_by_their_path_within_it(tmp_path: Path) -> None:
    """The name does not tell where the directory lies, and its first part is the subdirectory."""
    (tmp_path / "legal").mkdir()
    (tmp_path / "legal" / "mit.txt").write_text("as is")
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n')
    assert {document.name for document in read_documents([str(tmp_path)])} == {"legal/mit.txt", "rows.jsonl:1"}


def test_beginnings_are_whole_lines() -> None:
    """A text is cut after its last whole line that fits, or inside its first line where none does."""
    assert beginning("one\ntwo\n", 8) == "one\ntwo\n"
    assert beginning("one\ntwo\nx", 8) == "one\ntwo"
    assert beginning("one\ntwo\n", 7) == "one"
    assert beginning("one two", 5) == "one t"
