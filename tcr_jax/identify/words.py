"""Numbers in sentences."""

from collections.abc import Iterable

SHOWN = 5
"""Names in a sentence."""


def some(names: Iterable[object]) -> str:
    """The first few."""
    all_names = list(map(str, names))
    more = len(all_names) - SHOWN
    return ", ".join(all_names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
