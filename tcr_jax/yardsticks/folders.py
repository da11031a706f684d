"""Documents by the folder that they came from: what a directory of texts says of their domain, or of their label."""

from collections.abc import Mapping, Sequence

import numpy as np

POOLED = "all"
"""The name of all domains together."""


def domains(documents: Sequence[str] | None) -> dict[int, str]:
    """The first folder in each document's name, by the document's number; documents in no folder are left out.

    >>> domains(["mail/2.txt", "readme.txt", "law/act/1.txt"])
    {0: 'mail', 2: 'law'}
    """
    return {number: name.split("/")[0] for number, name in enumerate(documents or ()) if "/" in name}


def check_names(domains: Mapping[int, str]) -> None:
    """Raises `ValueError` where a domain has the name of all together: its figures would take theirs' place."""
    if POOLED in domains.values():
        raise ValueError(f"domain {POOLED!r} has the name of the pooled figures: rename that folder of the text")


def first_folders(documents: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """The number of the first folder in each document's name, and the names of the folders, sorted.

    >>> number_n, names = first_folders(["mail/2.txt", "law/act/1.txt", "mail/9.txt"])
    >>> number_n.tolist(), names
    ([1, 0, 1], ['law', 'mail'])

    Raises:
      ValueError: a document's name has no folder.
    """
    bare = [name for name in documents if "/" not in name]
    if bare:
        raise ValueError(f"document {bare[0]!r} lies in no folder; extract a directory that has one a domain or label")
    folders = [name.split("/")[0] for name in documents]
    names = sorted(set(folders))
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[folder] for folder in folders]), names
