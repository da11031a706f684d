"""The documents inside unpacked packages, and which of them a corpus takes: none that is short or repeats another."""

import bz2
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.corpus_sources import Source

RUN = 13  # words


class CorpusError(RuntimeError):
    """The corpus cannot be built: the message names the package or the domain, and the mend."""


class Repeats:
    """Tells documents that repeat earlier ones: a share over `shared` of their runs of RUN words was seen before."""

    def __init__(self, shared: float) -> None:
        self._shared = shared
        self._seen: set[int] = set()

    def __call__(self, text: str) -> bool:
        """Whether `text` repeats what earlier calls let pass. A text that does is not remembered."""
        words = text.split()
        runs = {hash(tuple(words[start : start + RUN])) for start in range(max(1, len(words) - RUN + 1))}
        if len(runs & self._seen) > self._shared * len(runs):
            return True
        self._seen |= runs
        return False


def documents(source: Source, directory: Path) -> Iterator[tuple[str, str]]:
    """(name, text) of a source whose package is unpacked in `directory`. The name begins with the domain.

    Raises:
      CorpusError: no file of the package matches.
    """
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    names = {path: path.relative_to(directory).as_posix() for path in paths}
    chosen = [path for path in paths if re.fullmatch(source.files, names[path])]
    if not chosen:
        raise CorpusError(f"{source.package}: no file matches {source.files}; mend the source in corpus_sources.py")
    for path in chosen:
        content = bz2.decompress(path.read_bytes()) if path.suffix == ".bz2" else path.read_bytes()
        try:
            whole = content.decode().replace("\r\n", "\n")
        except UnicodeDecodeError:
            continue
        for number, match in enumerate(re.finditer(source.documents, whole, re.DOTALL | re.MULTILINE)):
            package = source.package.partition("==")[0]
            yield f"{source.domain}/{package}/{names[path]}.{number}.txt", source.clean(match[1]).strip() + "\n"


class Chosen(NamedTuple):
    """The documents of one domain, and how many were left out."""

    texts: dict[str, str]  # by name
    short: int
    repeated: int


def choose(candidates: Iterable[tuple[str, str]], characters: int, shortest: int, repeats: Repeats) -> Chosen:
    """Takes candidates in an order that is fixed and mixed, until they hold so many characters.

    Raises:
      CorpusError: all are too short.
    """
    texts: dict[str, str] = {}
    short = repeated = 0
    for name, text in sorted(candidates, key=lambda item: hashlib.sha256(item[0].encode()).digest()):
        if characters <= 0:
            break
        if len(text) < shortest:
            short += 1
        elif repeats(text):
            repeated += 1
        else:
            texts[name] = text
            characters -= len(text)
    if short and not texts and not repeated:
        raise CorpusError(f"{name.partition('/')[0]}: no text has {shortest} characters; lower --shortest")
    return Chosen(texts, short, repeated)
