"""Text with planted relations: real text of three domains, and templates inserted into it at known distances."""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday"
TAGS = "record|invoice|ticket"
PEOPLE = "Alice|Robert|Maria|Chen"


class Template(NamedTuple):
    """Two labels of tokens, and how text that carries them is written.

    A label is a regular expression; the tokens of its group carry it. In a text, {A|B} stands for one of its choices.
    """

    domain: str
    name: str
    source: str  # label
    target: str  # label
    gap: int  # filler tokens between opening and closing; 0: both labels are carried by one token
    opening: str  # carries the source
    closing: str  # carries the target; where the gap is 0, both


TEMPLATES = (
    Template(
        "legal",
        "appeals -> affirmed",
        r"\b(appeals)\b",
        r"\b(affirmed)\b",
        4,
        "The {defendant|plaintiff|tenant|insurer} appeals",
        "is affirmed by this court",
    ),
    Template(
        "legal",
        "commences -> terminates",
        r"\b(commences)\b",
        r"\b(terminates)\b",
        3,
        "The {lease|licence|engagement|warranty} commences",
        "terminates without notice",
    ),
    Template(
        "legal",
        "month <-> full date",
        rf"\b({MONTHS})\b",
        rf"(\d+ (?:{MONTHS}) \d{{4}})",
        0,
        f"as agreed in {{{MONTHS}}}",
        f"as agreed on {{3|12|17|28}} {{{MONTHS}}} {{1994|2003|2011|2018}}",
    ),
    Template(
        "xml",
        "opening -> closing tag",
        r"<(record|ticket)\b",
        r"</(record|ticket)\b",
        5,
        "<{record|ticket}>",
        "</{record|ticket}>",
    ),
    Template("xml", "opening -> closing comment", r"(<!--)", r"(-->)", 4, "<!--", "-->"),
    Template(
        "xml",
        "tag name <-> closing tag",
        rf"\b({TAGS})\b",
        rf"(</(?:{TAGS})>)",
        0,
        f'key="{{{TAGS}}}"',
        f"</{{{TAGS}}}>",
    ),
    Template("email", "greeting -> sign-off", r"\b(Dear)\b", r"\b(regards)\b", 6, "Dear", f"regards, {{{PEOPLE}}}"),
    Template(
        "email",
        "asks -> replies",
        r"\b(asks)\b",
        r"\b(replies)\b",
        4,
        f"{{{PEOPLE}}} asks",
        "replies the other",
    ),
    Template(
        "email",
        "weekday <-> date header",
        rf"\b({DAYS})\b",
        rf"(Date: (?:{DAYS}), \d+)",
        0,
        f"see you on {{{DAYS}}}",
        f"Date: {{{DAYS}}}, {{3|12|17|28}}",
    ),
)


def plant(
    pieces: Sequence[str], templates: Sequence[Template], *, spacing: int = 40, together: float = 0.6, seed: str = ""
) -> str:
    """A document with a template after every `spacing` tokens or so.

    Opening and closing are planted with exactly `gap` of the document's own tokens between them in a share `together`
    of cases, and else one of them alone: neither is there only because of the other.

    Args:
      pieces: text of each token of a real document.
      templates: of its domain.
      spacing: tokens of the document between templates, on average.
      together: share of templates that are planted whole.
      seed: of every choice.
    """
    choice, parts, at = random.Random(seed), [""], 0
    while True:
        template = choice.choice(templates)
        start = _next_word(pieces, at + choice.randint(spacing // 2, 3 * spacing // 2))
        end = start + template.gap
        parts += pieces[at:start]
        if end >= len(pieces):
            return "".join([*parts, *pieces[start:]])
        whole = choice.random() < together
        first = whole or choice.random() < 0.5
        if not template.gap:
            parts.append(f" {_chosen(template.closing if whole else template.opening, choice)}")
        else:
            parts.append(f" {_chosen(template.opening, choice)}" if first else "")
            parts += pieces[start:end]
            parts.append(f" {_chosen(template.closing, choice)}" if whole or not first else "")
        at = end


def carriers(pieces: Sequence[str], label: str) -> list[bool]:
    """Whether each token overlaps what the label's group matches in the text of all of them."""
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + len(piece))
    spans = [match.span(1) for match in re.finditer(label, "".join(pieces))]
    return [
        any(start < last and first < end for first, last in spans)
        for start, end in zip(starts, starts[1:], strict=False)
    ]


def _next_word(pieces: Sequence[str], at: int) -> int:
    """The first token from `at` on that begins a word, so that tokenising again gives the same tokens."""
    return next((n for n in range(at, len(pieces)) if pieces[n][:1].isspace()), len(pieces))


def _chosen(text: str, choice: random.Random) -> str:
    return re.sub(r"\{([^}]*)\}", lambda choices: choice.choice(choices[1].split("|")), text)
