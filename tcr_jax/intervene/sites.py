"""Where concepts are removed and added: tokens of held-out passages, each with the concepts edited there."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tcr_jax.intervene.passages import Passage

MOST = 32
"""Edits of one token: all are run at once, and sources should not share all their tokens."""


class Site(NamedTuple):
    """One token, and edits of it that are run side by side."""

    passage: int
    position: int  # s
    source_n: np.ndarray  # the concept that each edit is of
    amount_n: np.ndarray  # by how much the edit is to change it, in units of z


def removals(
    passages: Sequence[Passage],
    z_tk: Sequence[np.ndarray],
    sources: Sequence[int],
    *,
    count: int,
    horizon: int,
    seed: int = 0,
) -> list[Site]:
    """Up to `count` tokens a source at which it fires; the edit is to bring it to zero.

    A source has at most one token a passage. Passages are distinct, but several may be of one document: occurrences are
    then not independent, and their standard errors too small. The token and the `horizon` after it were all kept by the
    store.

    Args:
      passages: of documents that no estimate has seen.
      z_tk: concepts of each passage.
      sources: concepts to be edited.
      count: tokens a source.
      horizon: tokens that must follow.
      seed: of the choice.
    """
    return _choose(passages, sources, count, horizon, seed, lambda n, t: (z_tk[n][t] != 0, -z_tk[n][t]))


def additions(
    passages: Sequence[Passage],
    z_tk: Sequence[np.ndarray],
    sources: Sequence[int],
    *,
    count: int,
    horizon: int,
    seed: int = 0,
) -> list[Site]:
    """Up to `count` tokens a source at which it does not fire; the edit is to bring it to its mean where it does.

    Arguments as for `removals`.
    """
    kept_nk = np.concatenate([z[passage.kept_t] for z, passage in zip(z_tk, passages, strict=True)])
    typical_k = kept_nk.sum(axis=0) / np.maximum((kept_nk != 0).sum(axis=0), 1)
    return _choose(passages, sources, count, horizon, seed, lambda n, t: (z_tk[n][t] == 0, typical_k))


def _choose(
    passages: Sequence[Passage],
    sources: Sequence[int],
    count: int,
    horizon: int,
    seed: int,
    edits_at: Callable[[int, int], tuple[np.ndarray, np.ndarray]],  # -> (whether a concept qualifies, amount), [k]
) -> list[Site]:
    """Tokens in a random order, one after the other, for every source that qualifies there and still wants one."""
    source_n = np.asarray(sources)
    wanted_n = np.full(len(source_n), count)
    used_np = np.zeros((len(source_n), len(passages)), bool)
    tokens = np.array(
        [(n, t) for n, passage in enumerate(passages) for t in _followed(passage.kept_t, horizon)], int
    ).reshape(-1, 2)
    sites = []
    random = np.random.default_rng(seed)
    for number, position in random.permutation(tokens):
        qualifies_k, amount_k = edits_at(number, position)
        chosen = np.flatnonzero((wanted_n > 0) & ~used_np[:, number] & qualifies_k[source_n])
        chosen = random.permutation(chosen)[:MOST]
        if len(chosen):
            wanted_n[chosen] -= 1
            used_np[chosen, number] = True
            sites.append(Site(int(number), int(position), source_n[chosen], amount_k[source_n[chosen]]))
        if not wanted_n.any():
            break
    return sites


def _followed(kept_t: np.ndarray, horizon: int) -> np.ndarray:
    """Positions that were kept together with the `horizon` after them."""
    if len(kept_t) <= horizon:
        return np.zeros(0, int)
    return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(kept_t, horizon + 1).all(axis=1))
