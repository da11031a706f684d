"""Where concepts are removed and added: tokens of held-out passages, each with the concepts edited there."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from tcr_jax.intervene.overlap import Asked, Propensity, overlap
from tcr_jax.intervene.passages import Passage, taken

MOST = 32
"""Edits of one token that are run at once."""

EditKind = Literal["removal", "addition"]


class Site(NamedTuple):
    """One token, and edits of it that are run side by side."""

    edit: EditKind
    passage: int
    position: int  # s
    source_n: np.ndarray  # the concept that each edit is of
    lag_n: np.ndarray  # how many tokens later it is looked at
    amount_n: np.ndarray  # by how much the edit is to change it, in units of z


def removals(
    passages: Sequence[Passage],
    z_tk: Sequence[np.ndarray],
    asked: Mapping[Asked, Propensity],
    *,
    count: int,
    seed: int = 0,
) -> list[Site]:
    """Up to `count` tokens for each source and lag at which the source fires; the edit is to bring it to zero.

    Tokens are drawn in proportion to `overlap`, without replacement, at most one a passage. Passages are distinct, but
    several may be of one document: occurrences are then not independent, and their standard errors too small. The token
    and those after it, to the longest lag, were all kept by the store.

    Args:
      passages: of documents that no estimate has seen.
      z_tk: concepts of each passage.
      asked: sources to be edited, each with the lag at which it is looked at, and their propensities.
      count: tokens for each of them.
      seed: of the draw.
    """
    return _draw("removal", passages, z_tk, asked, count, seed)


def additions(
    passages: Sequence[Passage],
    z_tk: Sequence[np.ndarray],
    y_tk: Sequence[np.ndarray],
    asked: Mapping[Asked, Propensity],
    *,
    count: int,
    seed: int = 0,
) -> list[Site]:
    """Up to `count` tokens for each source and lag at which the source does not fire; the edit is to bring it to its
    mean where it does.

    That mean is of its commoner sign: of both it may be next to nothing. A concept that does not fire is not at zero
    but at its pre-activation, which may be far on the other side: the edit starts from there.

    Arguments and draw as for `removals`, and

    Args:
      y_tk: pre-activations of each passage.
    """
    return _draw("addition", passages, z_tk, asked, count, seed, y_tk)


def _draw(
    edit: EditKind,
    passages: Sequence[Passage],
    z_tk: Sequence[np.ndarray],
    asked: Mapping[Asked, Propensity],
    count: int,
    seed: int,
    y_tk: Sequence[np.ndarray] | None = None,
) -> list[Site]:
    """Tokens of least exponential / weight: a weighted draw without replacement (Efraimidis and Spirakis 2006).

    The exponentials are the same for all that is asked, so that many edits share a token.
    """
    sources, horizon = sorted({source for source, _ in asked}), max(lag for _, lag in asked)
    position_pn = [_followed(passage.kept_t, horizon) for passage in passages]
    passage_n = np.repeat(np.arange(len(passages)), [len(position_n) for position_n in position_pn])
    position_n = np.concatenate(position_pn)
    exponential_n = np.random.default_rng(seed).exponential(size=len(passage_n))
    z_ts = [z[:, sources] for z in z_tk]
    z_ns = taken(z_ts, position_pn)
    if y_tk is None:
        able_ns, amount_ns = z_ns != 0, -z_ns
    else:
        typical_s = _typical(taken(z_ts, [passage.kept_t for passage in passages]))
        able_ns, amount_ns = z_ns == 0, typical_s - taken([y[:, sources] for y in y_tk], position_pn)
    token_pt = [passage.token_t for passage in passages]
    id_ln = {lag: taken(token_pt, [at_n + lag for at_n in position_pn]) for lag in {lag for _, lag in asked}}
    edits: dict[int, list[tuple[int, int, float]]] = {}
    for (source, lag), propensity in sorted(asked.items()):
        column = sources.index(source)
        able = np.flatnonzero(able_ns[:, column])
        weight_n = overlap(z_ns[:, column] != 0, propensity(id_ln[lag]))
        able = able[np.argsort((exponential_n / weight_n)[able])]
        first_of_passage = np.sort(np.unique(passage_n[able], return_index=True)[1])
        for token in able[first_of_passage[:count]].tolist():
            edits.setdefault(token, []).append((source, lag, amount_ns[token, column]))
    return [
        Site(edit, int(passage_n[token]), int(position_n[token]), *map(np.array, zip(*some, strict=True)))
        for token, members in edits.items()
        for some in (members[first : first + MOST] for first in range(0, len(members), MOST))
    ]


def _typical(z_ns: np.ndarray) -> np.ndarray:
    """Mean of each concept over the tokens at which it has its commoner sign; 0 if it never fires."""
    sign_s = np.where(np.sign(z_ns).sum(axis=0) < 0, -1, 1)
    alike_ns = np.sign(z_ns) == sign_s
    return (z_ns * alike_ns).sum(axis=0) / np.maximum(alike_ns.sum(axis=0), 1)


def _followed(kept_t: np.ndarray, horizon: int) -> np.ndarray:
    """Positions that were kept together with the `horizon` after them."""
    if len(kept_t) <= horizon:
        return np.zeros(0, int)
    return np.flatnonzero(np.lib.stride_tricks.sliding_window_view(kept_t, horizon + 1).all(axis=1))
