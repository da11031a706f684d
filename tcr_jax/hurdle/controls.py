"""What token identity alone says of a code: the control that a hurdle process is held against.

For every group g of tokens (one id, or a pair of them) training documents say how often each concept fires, with which
sign and what size. All are shrunken, as if `kappa` more tokens had been seen that followed the next coarser grouping:

    rate_g = (fires_g + kappa rate_coarser) / (tokens_g + kappa)
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from tcr_jax.hurdle.likelihood import Bits, Pool
from tcr_jax.hurdle.process import HurdleProcess
from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.lexical import Groups

ROWS = 16
"""Contexts scored at a time."""


class Counts(NamedTuple):
    """Sums over the training tokens of each group g, for every predicted concept."""

    groups: Groups
    group_g: np.ndarray  # ascending
    tokens_g: np.ndarray
    fires_gi: sp.csr_array
    positive_gi: sp.csr_array
    log_gi: sp.csr_array  # log |z / unit| where it fires


def count(codes: CodeTable, base: HurdleProcess, groups: Groups) -> Counts:
    """Counts of training codes.

    Args:
      codes: of training documents.
      base: their `base_process`, which says what is predicted and in which units.
      groups: one of `tcr_jax.yardsticks.lexical`.
    """
    group_bt = groups(codes.token_bt, codes.document_bt)
    parts = [sp.csr_array(_targets(codes, base, slice(n, n + ROWS))) for n in range(0, len(group_bt), ROWS)]
    z_ni = sp.vstack(parts, format="csr")[group_bt.reshape(-1) >= 0]
    group_g, place_n, tokens_g = np.unique(group_bt[group_bt >= 0], return_inverse=True, return_counts=True)
    member_gn = sp.csr_array((np.ones(len(place_n), np.float32), (place_n, np.arange(len(place_n)))))

    def sums(values: np.ndarray) -> sp.csr_array:
        return (member_gn @ sp.csr_array((values, z_ni.indices, z_ni.indptr), shape=z_ni.shape)).tocsr()

    positive, log = (z_ni.data > 0).astype(np.float32), np.log(np.abs(z_ni.data))
    return Counts(groups, group_g, tokens_g, sums(np.ones_like(log)), sums(positive), sums(log))


def identity_bits(
    base: HurdleProcess,
    levels: Sequence[Counts],
    codes: CodeTable,
    *,
    kappa: float,
    lags: int,
    domains: Mapping[int, str] | None = None,
) -> dict[str, Bits]:
    """`tcr_jax.hurdle.bits` of the same tokens and concepts, from token identity.

    The spread of sizes is taken from the scored tokens themselves, which flatters the control a little.

    Args:
      base: the coarsest level, `base_process` of the training documents.
      levels: finer and finer counts, such as those of the token, then of the pair.
      codes: held-out.
      kappa: tokens' worth of the coarser level that every group is given; over 0. Give the control its best.
      lags: history that a token must have to count.
      domains: see `bits`.

    Raises:
      ValueError: kappa is not over 0, or no token counts.
    """
    if not kappa > 0:
        raise ValueError(f"kappa={kappa} must be over 0: groups that were seen once would be certain")
    square_i, fires_i, pool = 0.0, 0.0, Pool(domains)
    for z_ni, _, (_, _, log_ni) in _scored(base, levels, codes, kappa, lags):
        square_i = square_i + np.where(z_ni != 0, (_log(z_ni) - log_ni) ** 2, 0).sum(axis=0)
        fires_i = fires_i + (z_ni != 0).sum(axis=0)
    spread_i = np.sqrt(np.maximum(square_i / np.maximum(fires_i, 1), 1e-4))
    for z_ni, document_n, (fires_ni, positive_ni, log_ni) in _scored(base, levels, codes, kappa, lags):
        seen_ni = z_ni != 0
        fires = _cost(np.where(seen_ni, fires_ni, 1 - fires_ni))
        sign = _cost(np.where(seen_ni, np.where(z_ni > 0, positive_ni, 1 - positive_ni), 1))
        normal_ni = ((_log(z_ni) - log_ni) / spread_i) ** 2 / 2 + np.log(spread_i) + np.log(2 * np.pi) / 2
        pool.add(np.stack([fires, sign, np.where(seen_ni, normal_ni, 0).sum(axis=1)]), document_n)
    return pool.bits(f"no token has {lags} kept tokens before it in its own document: give longer documents")


Rates = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Probability that a concept fires; that it is positive, and the mean log size, if it fires."""


def _scored(
    base: HurdleProcess, levels: Sequence[Counts], codes: CodeTable, kappa: float, lags: int
) -> Iterator[tuple[np.ndarray, np.ndarray, Rates]]:
    """z_ni in units, document_n and rates of the tokens that count, a few contexts at a time."""
    scored_bt = codes.scored(lags)
    for first in range(0, len(scored_bt), ROWS):
        rows = slice(first, first + ROWS)
        kept_n = scored_bt[rows].reshape(-1)
        token_bt, document_bt = codes.token_bt[rows], codes.document_bt[rows]
        odds = [np.asarray(link.intercept_i)[None] for link in (base.fires, base.sign, base.size)]
        rates: Rates = (1 / (1 + np.exp(-odds[0])), 1 / (1 + np.exp(-odds[1])), odds[2])
        for level in levels:
            rates = _refine(rates, level, level.groups(token_bt, document_bt).reshape(-1)[kept_n], kappa)
        yield _targets(codes, base, rows)[kept_n], document_bt.reshape(-1)[kept_n], rates


def _refine(coarse: Rates, level: Counts, group_n: np.ndarray, kappa: float) -> Rates:
    place_n = np.minimum(np.searchsorted(level.group_g, group_n), len(level.group_g) - 1)
    seen_n1 = (level.group_g[place_n] == group_n)[:, None]
    tokens_n1 = seen_n1 * level.tokens_g[place_n][:, None]
    fires_ni, positive_ni, log_ni = (
        seen_n1 * sums[place_n].toarray() for sums in (level.fires_gi, level.positive_gi, level.log_gi)
    )
    return (
        (fires_ni + kappa * coarse[0]) / (tokens_n1 + kappa),
        (positive_ni + kappa * coarse[1]) / (fires_ni + kappa),
        (log_ni + kappa * coarse[2]) / (fires_ni + kappa),
    )


def _targets(codes: CodeTable, base: HurdleProcess, rows: slice) -> np.ndarray:
    """The predicted concepts at every position of some contexts, in units."""
    target_i = np.asarray(base.target_i)
    z_nk = codes.z_btk[rows].reshape(-1, codes.z_btk.shape[-1])
    return z_nk[:, target_i].astype(np.float32) / np.asarray(base.unit_k)[target_i]


def _cost(probability_ni: np.ndarray) -> np.ndarray:
    """-log of what happened, by token; float32 rounds what is next to certain to certain."""
    return -np.log(np.maximum(probability_ni, 1e-6)).sum(axis=1)


def _log(z_ni: np.ndarray) -> np.ndarray:
    return np.log(np.abs(np.where(z_ni != 0, z_ni, 1)))
