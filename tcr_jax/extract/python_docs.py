"""A sample of prose and code that every Python installation carries."""

import hashlib
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

CHARACTERS = 4_000  # so that no file dominates, and a small sample has documents enough to hold some out
SKIPPED = {  # tests, tables of character codes, and what some distributions leave out
    *("__pycache__", "config", "dist-packages", "encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data"),
    *("site-packages", "test", "tests", "tkinter", "turtledemo"),
}


def python_docs() -> Iterator[tuple[str, str]]:
    """(name, text) of the language reference's topics and the beginnings of the standard library's sources.

    The order is that of a hash of the text: fixed, and mixed, so that any first part is a fair sample. The documents
    are those of the running Python: another version gives others.
    """
    found = {f"topic {name}": beginning(text, CHARACTERS) for name, text in topics.items()}
    library = Path(sysconfig.get_path("stdlib"))
    for path in library.rglob("*.py"):
        name = path.relative_to(library)
        if not SKIPPED.intersection(name.parts) and not name.parts[0].startswith("config-"):
            with tokenize.open(path) as file:  # honours the encoding that a source declares
                found[f"library {name.as_posix()}"] = beginning(file.read(), CHARACTERS)
    yield from sorted(found.items(), key=lambda item: hashlib.sha256(item[1].encode()).digest())


def beginning(text: str, characters: int) -> str:
    """Whole lines of at most so many characters, or the beginning of the first line where it is longer."""
    return text if len(text) <= characters else text[:characters].rpartition("\n")[0] or text[:characters]
