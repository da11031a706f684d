"""Text with planted relations: real text of three domains, and templates inserted into it at known distances."""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday"
NAMES = "note|table|letter"


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
    Template("legal", "appeals -> affirmed", r"\b(appeals)\b", r"\b(affirmed)\b", 4, "appeals", "affirmed"),
    Template("legal", "begins -> expires", r"\b(begins)\b", r"\b(expires)\b", 3, "begins", "expires"),
    Template(
        "legal",
        "month <-> full date",
        rf"\b({MONTHS})\b",
        rf"\d ({MONTHS})\b",
        0,
        f"in {{{MONTHS}}}",
        f"on {{3|5|7|9}} {{{MONTHS}}}",
    ),
    Template("xml", "opening -> closing tag", r"<(entry)>", r"</(entry)>", 5, "<entry>", "</entry>"),
    Template("xml", "sender -> receiver", r"\b(sender)=", r"\b(receiver)=", 4, 'sender=""', 'receiver=""'),
    Template(
        "xml",
        "tag name <-> closing tag",
        rf"\b({NAMES})\b",
        rf"</({NAMES})>",
        0,
        f'name="{{{NAMES}}}"',
        f"</{{{NAMES}}}>",
    ),
    Template("email", "greeting -> sign-off", r"\b(Dear)\b", r"\b(regards)\b", 6, "Dear", "regards"),
    Template("email", "asks -> replies", r"\b(asks)\b", r"\b(replies)\b", 4, "asks", "replies"),
    Template(
        "email",
        "weekday <-> date header",
        rf"\b({DAYS})\b",
        rf"Date: ({DAYS})\b",
        0,
        f"on {{{DAYS}}}",
        f"Date: {{{DAYS}}}",
    ),
)
"""Delayed templates are their labels alone: words beside them would be planted relations too, at every occurrence."""


def plant(
    pieces: Sequence[str], templates: Sequence[Template], *, spacing: int = 16, together: float = 0.8, seed: str = ""
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
        start = _between_words(pieces, at + choice.randint(spacing // 2, 3 * spacing // 2), template.gap)
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


def _between_words(pieces: Sequence[str], at: int, gap: int) -> int:
    """The first token from `at` on that begins a word, as does the one `gap` later: text put there breaks no word."""
    places = range(at, len(pieces) - gap)
    return next((n for n in places if pieces[n][:1].isspace() and pieces[n + gap][:1].isspace()), len(pieces))


def _chosen(text: str, choice: random.Random) -> str:
    return re.sub(r"\{([^}]*)\}", lambda choices: choice.choice(choices[1].split("|")), text)
