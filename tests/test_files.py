"""Files that are whole or absent."""

import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tcr_jax.files import read_json, write_bytes, write_text


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """Where the new file does not fit, the error names it, the old one stays, and nothing else is left."""
    path = tmp_path / "summary.json"
    write_text(path, "café")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large: .*summary.json'"):
            write_bytes(path, bytes(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text(encoding="utf-8") == "café" and list(tmp_path.iterdir()) == [path]


def test_many_may_write_one_file_at_once(tmp_path: Path) -> None:
    """Writers of the same file all succeed; it holds what one of them wrote, whole, and nothing else is left."""
    path = tmp_path / "store.json"
    texts = [str(number) * 1000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(path, text), texts))
    assert path.read_text() in texts and list(tmp_path.iterdir()) == [path]


def test_damaged_json_is_named(tmp_path: Path) -> None:
    """With where it breaks off."""
    path = tmp_path / "summary.json"
    path.write_text('{"a": ')
    with pytest.raises(ValueError, match=r"summary.json: not JSON \(Expecting value: line 1 column 7"):
        read_json(path)
