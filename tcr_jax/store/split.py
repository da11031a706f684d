"""The held-out split: by document, and a function of the document's number alone."""

from typing import Literal

import numpy as np

Split = Literal["train", "heldout", "all"]


def is_heldout(document: np.ndarray, fraction: float) -> np.ndarray:
    """Whether each document is held out: about `fraction` of them are, the same ones in every run and process.

    A larger fraction holds out all that a smaller one does. The number is hashed (the finaliser of MurmurHash3, 64
    bits), because neighbouring documents are often alike.
    """
    with np.errstate(over="ignore"):
        bits = np.asarray(document).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(multiplier)
    return (bits ^ (bits >> np.uint64(33))) < np.uint64(min(int(fraction * 2**64), 2**64 - 1))


def in_split(document: np.ndarray, split: Split, heldout: float) -> np.ndarray:
    """Whether each document belongs to `split`, where a share `heldout` of them is held out. Dropped ones never do."""
    exists = np.asarray(document) >= 0
    if split == "all":
        return exists
    return exists & (is_heldout(document, heldout) == (split == "heldout"))
