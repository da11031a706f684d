"""Laws of text with planted relations."""

import re

import pytest

from experiments.planted_text import TEMPLATES, Template, carriers, plant

WORDS = [f" word{n}" for n in range(2000)]
DELAYED = Template("x", "a -> b", r"\b(begin)\b", r"\b(finish)\b", 5, "to {begin|begin}", "finish it")
SHARED = Template("x", "a <-> b", r"\b(May)\b", r"(\d May)", 0, "in May", "on {3|7} May")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_every_template_carries_its_labels(template: Template) -> None:
    """Planted text has both labels, the target's also alone, and what was not planted has neither."""
    text = plant(WORDS, [template], seed="0")
    for label in (template.source, template.target):
        assert len(re.findall(label, text)) > 10
        assert not re.search(label, "".join(WORDS))
    if not template.gap:
        both = [match for match in re.finditer(template.target, text) if re.search(template.source, match[0])]
        assert 10 < len(both) < len(re.findall(template.source, text))


def test_ends_lie_as_far_apart_as_was_said_or_stand_alone() -> None:
    """Between a begin and its finish are five of the document's tokens; each is there without the other as well."""
    text = plant(WORDS, [DELAYED], together=0.5, seed="0")
    spans = re.findall(r"begin((?: word\d+){5}) finish", text)
    assert len(spans) > 10
    assert text.count("begin") > len(spans) < text.count("finish")
    assert text.count("begin") + text.count("finish") - 2 * len(spans) > 10


def test_the_document_is_still_there() -> None:
    """Without what was planted it is the document, each token once and in order."""
    text = plant(WORDS, [DELAYED, SHARED], seed="0")
    assert re.sub(r" to begin| finish it| in May| on \d May", "", text) == "".join(WORDS)


def test_the_seed_decides() -> None:
    """The same seed plants the same, another one otherwise."""
    first, again, other = (plant(WORDS, [DELAYED], seed=seed) for seed in ("0", "0", "1"))
    assert first == again != other


def test_carriers_are_the_tokens_that_overlap_the_group() -> None:
    """Also where the match begins or ends within a token."""
    pieces = [" on", " 1", "2", " May", " x", "May"]
    assert carriers(pieces, SHARED.target) == [False, False, True, True, False, False]
    assert carriers(pieces, r"(12 M)") == [False, True, True, True, False, False]
    assert carriers(pieces, SHARED.source) == [False, False, False, True, False, False]


def test_a_short_document_is_left_as_it_is() -> None:
    """Where no template fits, nothing is planted."""
    assert plant(WORDS[:10], [DELAYED], seed="0") == "".join(WORDS[:10])


def test_what_is_planted_breaks_no_word() -> None:
    """In a document of words of three tokens, both ends are put between words, that many tokens apart."""
    pieces = [piece for n in range(800) for piece in (f" wo{n}", "rd", "s")]
    text = plant(pieces, [DELAYED._replace(gap=6)], seed="0")
    assert text.count("begin") > 10
    assert all(re.fullmatch(r"wo\d+rds|to|begin|finish|it", word) for word in text.split())
    assert "begin" not in plant(pieces, [DELAYED], seed="0")  # five tokens after a word begins, none does
