"""Chosen relations as Markdown that GitHub renders: a table of each kind, and the text about their concepts."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tcr_jax.intervene.edges import CLEAR, Intervention
from tcr_jax.relations.contexts import Contexts, Example, Snippet
from tcr_jax.relations.page import Writer, signed
from tcr_jax.yardsticks.edge_table import CertifiedEdge

BEGIN, END = "<!-- written by experiments.findings, from here -->", "<!-- to here -->"
SPECIAL = re.compile(r"[\\`*_\[\]|<>&$~:@#{}!]")


class Relation(NamedTuple):
    """A certified edge and what else was measured of it."""

    edge: CertifiedEdge
    beyond: CertifiedEdge | None  # the same edge among tokens that share their previous token too
    removal: Intervention | None
    addition: Intervention | None
    cosine: float  # between the directions of source and target in the decoder


def plain(text: str) -> str:
    """Text in which Markdown and HTML find nothing to act on."""
    return SPECIAL.sub(lambda match: f"&#{ord(match.group())};", text)


def delayed(relations: Sequence[Relation], contexts: Contexts, labels: Mapping[int, str]) -> str:
    """A table of delayed relations; signs are those between the concepts as they are turned."""
    names = ["", "source", "target", "lag", "slope", "abs(t), halves", "predicted, sd of target"]
    names += ["removed: predicted, measured ± error", "sign", "added: predicted, measured ± error", "sign"]
    return _table([*names, "beyond bigram"], _delayed(relations, contexts, labels))


def instantaneous(relations: Sequence[Relation], contexts: Contexts, labels: Mapping[int, str]) -> str:
    """A table of relations within a token; no intervention tells of them."""
    names = ("", "source", "target", "M", "abs(t), halves", "predicted, sd of target", "beyond bigram", "cosine")
    return _table(names, _instantaneous(relations, contexts, labels))


def examples(
    relations: Sequence[Relation], contexts: Sequence[Example], labels: Mapping[int, str], writer: Writer
) -> str:
    """For every relation, real text in which it acts: source underlined, target bold."""
    return "\n".join(
        f"{number}. {_name(relation.edge.source, labels)} → {_name(relation.edge.target, labels)}"
        + "".join(f"<br>{quoted(snippet, writer)}" for snippet in example.snippets)
        for number, (relation, example) in enumerate(zip(relations, contexts, strict=True), 1)
    )


def concepts(contexts: Contexts, labels: Mapping[int, str], writer: Writer, domains: Mapping[int, str]) -> str:
    """For every concept, the tokens at its peaks, and text with the token in bold where it fires most strongly."""
    rows = []
    for index, concept in sorted(contexts.concepts.items()):
        tokens = ", ".join(("" if up else "−") + f"`{_code(writer.piece(token))}`" for token, up in concept.top_tokens)
        text = "<br>".join(
            f"{quoted(snippet, writer)} ({plain(domains.get(snippet.document, 'document'))}"
            f" {signed(concept.sign * snippet.values[snippet.focus])})"
            for snippet in concept.snippets
        )
        rows.append((_name(index, labels), tokens, text))
    return _table(("concept", "tokens at its peaks", "where it fires most strongly, and how"), rows)


def quoted(snippet: Snippet, writer: Writer) -> str:
    """A snippet as HTML code: the focus bold, an edge's source underlined, both in brackets."""
    words = []
    for place, token in enumerate(snippet.tokens):
        piece = writer.piece(token)
        word = piece.strip(" ") or piece
        before, _, after = piece.partition(word)
        text = plain(word)
        if place == snippet.source:
            text = f"<ins>‹{text}›</ins>"
        if place == snippet.focus:
            text = f"<b>{text if place == snippet.source else f'‹{text}›'}</b>"
        words.append(before + text + after)
    return f"<code>{''.join(words).strip()}</code>"


def inserted(page: str, text: str) -> str:
    """The page with `text` in the place of what stood between `BEGIN` and `END`, or after the page if neither stands.

    Raises:
      ValueError: one of the two lines is missing, or stands twice.
    """
    if BEGIN not in page and END not in page:
        return f"{page.rstrip()}\n\n{BEGIN}\n\n{text}\n{END}\n".lstrip()
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page must hold the line {BEGIN!r} once and {END!r} once after it; mend or delete both")
    return page[: page.index(BEGIN) + len(BEGIN)] + f"\n\n{text}\n" + page[page.index(END) :]


def _delayed(
    relations: Sequence[Relation], contexts: Contexts, labels: Mapping[int, str]
) -> Iterator[tuple[object, ...]]:
    for number, (edge, beyond, removal, addition, _) in enumerate(relations, 1):
        turn, of_target = contexts.sign(edge), contexts.concepts[edge.target].sign
        ends = (_name(edge.source, labels), _name(edge.target, labels))
        tested = (cell for edit in (removal, addition) for cell in _tested(edit, of_target))
        yield (number, *ends, edge.lag, signed(turn * edge.weight), *_strength(edge), *tested, _beyond(beyond, turn))


def _instantaneous(
    relations: Sequence[Relation], contexts: Contexts, labels: Mapping[int, str]
) -> Iterator[tuple[object, ...]]:
    for number, (edge, beyond, _, _, cosine) in enumerate(relations, 1):
        turn = contexts.sign(edge)
        ends = (_name(edge.source, labels), _name(edge.target, labels))
        last = (_beyond(beyond, turn), signed(turn * cosine))
        yield (number, *ends, signed(turn * edge.weight), *_strength(edge), *last)


def _strength(edge: CertifiedEdge) -> tuple[str, str]:
    return f"{abs(edge.t_first):.0f}, {abs(edge.t_second):.0f}", f"{edge.predicted:.2f}"


def _beyond(beyond: CertifiedEdge | None, turn: int) -> str:
    return "no" if beyond is None else signed(turn * beyond.weight)


def _tested(found: Intervention | None, turn: int) -> tuple[str, str]:
    if found is None:
        return "not tested", ""
    clear = abs(found.measured) > CLEAR * found.error
    sign = "right" if found.direct * found.measured > 0 else "wrong"
    numbers = f"{signed(turn * found.direct)}, {signed(turn * found.measured, 3)} ± {found.error:.3f}"
    return numbers, f"**{sign}**" if clear else sign


def _name(concept: int, labels: Mapping[int, str]) -> str:
    return f"`{_code(labels[concept])}` {concept}"


def _code(text: str) -> str:
    """Text within backticks in a table: there only these two characters would end it."""
    return text.replace("`", "ˋ").replace("|", "¦")


def _table(names: Sequence[str], rows: Sequence[tuple[object, ...]] | Iterator[tuple[object, ...]]) -> str:
    lines = [f"| {' | '.join(map(str, row))} |" for row in (names, ("---",) * len(names), *rows)]
    return "\n".join(lines) + "\n"
