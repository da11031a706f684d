"""One self-contained HTML page out of everything that the report knows. Nothing in it is fetched from elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import numpy as np

from tcr_jax.relations.contexts import Concept, Contexts, Snippet
from tcr_jax.relations.edges import Edge
from tcr_jax.store import is_heldout

MARKS = str.maketrans({"\n": "↵", "\r": "␍", "\t": "⇥", "\x0b": "␋", "\x0c": "␌", "\u2028": "↵", "\u2029": "↵"})
FAINTEST = 0.06  # activations below this share of a concept's strongest are shown as plain text


class Span(NamedTuple):
    """A run of text. `kind` is a class of the page: plain, positive, negative, source or target."""

    text: str
    kind: str
    level: float  # 0 to 1, depth of the colour
    value: float
    focus: bool


class Line(NamedTuple):
    """A snippet as it is printed."""

    spans: list[Span]
    document: int
    heldout: bool


class Row(NamedTuple):
    """A relation as it is printed."""

    edge: Edge
    id: str  # its anchor in the page
    source: str
    target: str
    coefficient: float  # between the concepts as they are turned
    pair_share: float
    pair: list[str]
    lines: list[Line]


class Writer:
    """Turns token ids into text that can be seen."""

    def __init__(self, pieces: Sequence[str], heldout: float) -> None:
        self.pieces = pieces
        self.heldout = heldout

    def piece(self, token: int) -> str:
        """Text of a token, with white space other than blanks, and control characters, made visible."""
        text = self.pieces[token] if token < len(self.pieces) else f"⟨{token}⟩"
        return "".join(mark if mark.isprintable() else f"⟨{ord(mark):x}⟩" for mark in text.translate(MARKS))

    def name(self, token: int) -> str:
        """Text of a token, fit to stand in a name: blanks around it go, unless there is nothing else."""
        return self.piece(token).strip(" ") or "␣"

    def label(self, concept: Concept) -> str:
        """A short name: the most frequent pieces at the strongest firings, with a minus where they turn it negative."""
        names = dict.fromkeys("−" * (not positive) + self.name(token) for token, positive in concept.top_tokens)
        return " · ".join(list(names)[:2]) or f"#{concept.index}"

    def lines(self, snippets: Sequence[Snippet], sign: int = 1) -> list[Line]:
        """Snippets of a concept: every token coloured by sign * z; or of an edge: source and target marked."""
        strongest = max((abs(value) for snippet in snippets for value in snippet.values), default=0.0)
        return [self._line(snippet, sign, strongest) for snippet in snippets]

    def _line(self, snippet: Snippet, sign: int, strongest: float) -> Line:
        spans: list[Span] = []
        for index, (token, value) in enumerate(zip(snippet.tokens, snippet.values, strict=True)):
            text, level = self.piece(token), abs(value) / strongest if strongest else 0.0
            value *= sign
            kind = "positive" if value > 0 else "negative"
            focus = index == snippet.focus
            if snippet.source is not None:
                kind, level = ("both" if focus and index == snippet.source else "target" if focus else "source"), 1.0
                if index == snippet.source:
                    value = snippet.source_value
            shown = level >= FAINTEST if snippet.source is None else index in (snippet.source, snippet.focus)
            if shown:
                word = text.strip(" ") or text
                before, _, after = text.partition(word)  # blanks stay uncoloured: they may end or begin a line
                spans += [_plain(before), Span(word, kind, round(level, 2), value, focus), _plain(after)]
            else:
                spans.append(_plain(text))
        return Line(spans, snippet.document, bool(is_heldout(np.array(snippet.document), self.heldout)))


def render(
    summary: Mapping[str, Any],
    edges: Sequence[Edge],
    contexts: Contexts,
    labels: Mapping[int, str],
    statistics: Mapping[int, Mapping[str, float]],
    pictures: Mapping[str, str],
    writer: Writer,
) -> str:
    """The whole page.

    Args:
      summary: headline numbers by name, as in summary.json.
      edges: reported relations, in the order of `contexts.examples`.
      contexts: text for concepts and edges.
      labels: short name of each reported concept.
      statistics: `rate` and `std` of each reported concept.
      pictures: SVG elements by name; a missing one is left out.
      writer: knows the pieces of the tokenizer.
    """
    rows = [
        Row(
            edge,
            f"edge-{edge.kind}-{edge.lag}-{edge.source}-{edge.target}",
            labels[edge.source],
            labels[edge.target],
            edge.coefficient * contexts.sign(edge),
            example.pair_share,
            [writer.name(token) for token in example.pair or ()],
            writer.lines(example.snippets),
        )
        for edge, example in zip(edges, contexts.examples, strict=True)
    ]
    apart = [row for row in rows if row.edge.kind != "self"]
    by_rank = dict.fromkeys(index for edge in edges for index in (edge.source, edge.target))
    cards = [
        {
            "index": index,
            "label": labels[index],
            "lines": writer.lines(concept.snippets, concept.sign),
            "incoming": [row for row in apart if row.edge.target == index][:5],
            "outgoing": [row for row in apart if row.edge.source == index][:5],
            "loops": [row for row in rows if row.edge.kind == "self" and row.edge.source == index][:3],
            **statistics[index],
        }
        for index, concept in ((index, contexts.concepts[index]) for index in by_rank)
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tcr_jax.relations", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "signed": signed, "count": count, "times": times, "r2": r2}
    template = environment.get_template("page.html")
    return template.render(summary=summary, rows=rows, cards=cards, pictures=pictures)


def _plain(text: str) -> Span:
    return Span(text, "plain", 0.0, 0.0, False)


def percent(value: float | None) -> str:
    """A share, in percent, to three digits at most."""
    if value is None or value != value:
        return "–"
    digits = 0 if abs(value) >= 0.9995 or value == 0 else 1 if abs(value) >= 0.01 else 2
    return f"{100 * value:.{digits}f}\u202f%".replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def r2(value: float) -> str:
    """An R², to three decimals; one far below zero to three digits."""
    return (f"{value:.3f}" if value > -10 else f"{value:.3g}").replace("-", "−")


def times(value: float) -> str:
    """A factor, to three digits."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}×"


def count(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")
