"""A page of relations that renders as it was meant, on a world whose relations are known."""

import re

import pytest

from tcr_jax.checkpoint import Run
from tcr_jax.intervene.edges import Intervention
from tcr_jax.relations import markdown
from tcr_jax.relations.contexts import Contexts, Snippet, collect
from tcr_jax.relations.markdown import BEGIN, END, Relation
from tcr_jax.relations.page import Writer
from tcr_jax.store import Store
from tcr_jax.yardsticks.edge_table import CertifiedEdge
from tests.relations.conftest import PIECES

EDGES = [CertifiedEdge(0, 1, 1, 0.8, 1.2, 20.4, 11.6), CertifiedEdge(2, 3, 2, -0.5, 0.7, -9.6, -8.4)]
PRESENT = CertifiedEdge(5, 6, 0, 0.7, 0.9, 31.0, 30.0)
WRITER = Writer(PIECES, 0.4)
LABELS = {index: f"c`{index}|" for index in range(8)}


@pytest.fixture(scope="module")
def contexts(run: Run, store: Store) -> Contexts:
    return collect(run.params.dictionary, [*EDGES, PRESENT], store, range(len(store)), batch=7, shown=2, examples=1)


def cells(table: str) -> list[list[str]]:
    """The rows below the head; every line has as many cells as the first."""
    lines = [line.strip("|").split("|") for line in table.strip().splitlines()]
    assert len({len(line) for line in lines}) == 1 and set(lines[1]) == {" --- "}
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_delayed(contexts: Contexts) -> None:
    """Signs of slope and change are those of the concepts as they are turned; what is clear is bold."""
    removal = Intervention(0, 1, 1, 0.8, -2.0, -1.6, -1.6, -0.25, 0.05, 64)
    addition = removal._replace(direct=0.4, measured=-0.012, error=0.01)
    relations = [
        Relation(EDGES[0], EDGES[0]._replace(weight=0.3), removal, addition, 0.1),
        Relation(EDGES[1], None, None, None, 0.0),
    ]
    first, second = cells(markdown.delayed(relations, contexts, LABELS))
    turn, of_target = contexts.sign(EDGES[0]), contexts.concepts[1].sign
    assert first[:3] == ["1", "`cˋ0¦` 0", "`cˋ1¦` 1"] and first[3] == "1"
    assert float(first[4].replace("−", "-")) == 0.8 * turn and first[5:7] == ["20, 12", "1.20"]
    assert re.findall(r"[−+][\d.]+", first[7])[0] == ("−1.60" if of_target > 0 else "+1.60")
    assert first[8] == "**right**" and first[10] == "wrong" and first[11] == ("+0.30" if turn > 0 else "−0.30")
    assert second[7:] == ["not tested", "", "not tested", "", "no"]


def test_instantaneous(contexts: Contexts) -> None:
    """No column of interventions; the cosine of the directions is turned too."""
    (row,) = cells(markdown.instantaneous([Relation(PRESENT, None, None, None, -0.25)], contexts, LABELS))
    turned = -0.25 * contexts.sign(PRESENT)
    assert row[4:] == ["31, 30", "0.90", "no", f"{turned:+.2f}".replace("-", "−")]


def test_text_of_relations_and_concepts(contexts: Contexts) -> None:
    """Every relation with source and target marked; every concept with two texts, its domain and its activation."""
    relations = [Relation(edge, None, None, None, 0.0) for edge in EDGES]
    text = markdown.examples(relations, contexts.examples[:2], LABELS, WRITER)
    assert text.count("<ins>") == text.count("<b>") == 2 and text.startswith("1. `cˋ0¦` 0 → `cˋ1¦` 1<br><code>")
    rows = cells(markdown.concepts(contexts, LABELS, WRITER, {}))
    assert len(rows) == len(contexts.concepts) == 6
    for row in rows:
        assert row[2].count("<b>‹") == 2 and row[2].count("(document +") == 2


def test_nothing_in_the_text_acts_on_the_page() -> None:
    """Tokens that are HTML, Markdown, mathematics or a cell's end come out as text; blanks stay outside the marks."""
    snippet = Snippet(0, tuple(range(len(PIECES))), (0.0,) * len(PIECES), 3, 2, 1.0)
    text = markdown.quoted(snippet, WRITER)
    assert "<ins>‹&#60;script&#62;alert(1)&#60;/script&#62;›</ins> <b>‹&#38; co›</b>" in text
    assert "&#36;x&#95;1&#36;naïve⇥ ofthe日本</code>" in text
    assert not re.search(r"[`*|$]|<(?!/?(?:code|ins|b)>)", text)
    loop = Snippet(0, (7, 8), (0.0, 1.0), 1, 1, 1.0)
    assert markdown.quoted(loop, WRITER) == "<code>of<b><ins>‹the›</ins></b></code>"


def test_only_what_stands_between_the_lines_is_replaced() -> None:
    """A page without them gets them at its end; one that has lost one is refused."""
    page = markdown.inserted("# Mine\n\nBy hand.\n", "old")
    assert page.startswith("# Mine\n\nBy hand.\n\n") and page.count(BEGIN) == page.count(END) == 1
    again = markdown.inserted(page + "\nAfter.\n", "new")
    assert "old" not in again and again == (page + "\nAfter.\n").replace("old", "new")
    assert markdown.inserted("", "new") == f"{BEGIN}\n\nnew\n{END}\n"
    for broken in (page.replace(END, ""), page + page, f"{END}\n{BEGIN}\n"):
        with pytest.raises(ValueError, match="mend or delete both"):
            markdown.inserted(broken, "new")
