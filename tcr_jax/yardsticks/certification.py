"""Edges that other documents confirm: chosen on one half of the documents, looked for in a fit of the other half.

On each half a linear autoregression of its own concepts is fitted, with standard errors that respect documents:

    z_i(t) = sum_lj B_l[i, j] z_j(t-l) + c_i + eps_i(t),    t = B / se,    se by leaving out groups of documents in turn

An edge of the first half is certified where concepts found independently on the second half match both its ends and
bear the same effect there. With `within`, all moments are taken about the means of a group of tokens, such as those
that share their own and the previous id: exactly the regression with an intercept for every such pair, so that no
function of the two tokens' identity can be behind what remains.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tcr_jax.scores.matching import UNMATCHED, Matching
from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.lexical import Groups

ROWS = 16_384
"""Tokens whose lagged codes are held at a time."""


class EdgeFit(NamedTuple):
    """Delayed effects with their uncertainty, in units of both ends' standard deviation."""

    effect_lkk: np.ndarray
    t_lkk: np.ndarray


class Certificate(NamedTuple):
    """What became of the edges chosen on the first half."""

    chosen: int
    comparable: int  # of those, both ends have a partner in the second half
    same_sign: int  # of the comparable ones, in the second half
    certified: int  # of those, |t| over `confirm` there
    pairs: int  # all ordered pairs of different matched concepts, at all lags
    by_chance: float  # share of the pairs that would count as certified, were their sign and place guessed


def edge_fit(
    codes: CodeTable, lags: int, *, folds: int = 20, ridge: float = 1e-4, within: Groups | None = None
) -> EdgeFit:
    """Least squares with delete-a-group jackknife standard errors; the groups are documents thrown together at random.

    Args:
      codes: of the documents to learn from.
      lags: tokens back.
      folds: groups of documents (g): t has g - 1 degrees of freedom.
      ridge: added to the sources' correlation matrix.
      within: the groups of tokens about whose means moments are taken, one of `tcr_jax.yardsticks.lexical`; groups of
        one token then say nothing. The means' degrees of freedom are not counted: where groups have m tokens, squared
        standard errors are (m - 1) / m of what they should be (|t| > 2 without an effect: 7.8 % with m = 5, not 6 %).

    Raises:
      ValueError: a fold is left without documents, or the tokens are fewer than the parameters of a target.

    Source: Cameron and Miller 2015, "A practitioner's guide to cluster-robust inference".
    """
    k = codes.z_btk.shape[-1]
    gram_gff, tokens_g = _grams(codes, lags, folds, within)
    if tokens_g.min() == 0 or tokens_g.sum() <= k * lags:
        raise ValueError(
            f"{int(tokens_g.sum())} tokens in {int((tokens_g > 0).sum())} of {folds} folds cannot tell {k * lags} "
            "effects of a target and their errors: give more documents, or fewer concepts, lags or folds"
        )
    deviation_f = np.sqrt(np.maximum(np.diagonal(gram_gff.sum(axis=0)) / tokens_g.sum(), 1e-12))
    correlation_gff = gram_gff / np.outer(deviation_f, deviation_f)
    whole_pk = _solve(correlation_gff.sum(axis=0), k, ridge)
    left_out = [_solve(correlation_gff.sum(axis=0) - correlation_gff[g], k, ridge) for g in range(folds)]
    error_pk = np.sqrt((folds - 1) / folds * sum((part_pk - whole_pk) ** 2 for part_pk in left_out))
    effect_lkk, error_lkk = (np.swapaxes(m_pk.reshape(lags, k, k), 1, 2) for m_pk in (whole_pk, error_pk))
    return EdgeFit(effect_lkk, effect_lkk / np.maximum(error_lkk, 1e-9))


def certify(
    first: EdgeFit,
    second: EdgeFit,
    matching: Matching,
    *,
    stable_k: np.ndarray | None = None,
    choose: float = 5.0,
    effect: float = 0.05,
    confirm: float = 2.0,
    alike: float = 0.7,
) -> Certificate:
    """Do the edges of one half hold in the other? Self-loops are left out.

    Args:
      first: fit of the half that chooses.
      second: fit of the other half, of its own concepts.
      matching: of the first half's concepts with the second's, signed similarities.
      stable_k: concepts of the first half among which edges are chosen, by evidence of that half alone; all by default.
      choose: |t| over which an edge is chosen.
      effect: size over which an edge is chosen.
      confirm: |t| over which, with the same sign, it counts as certified.
      alike: |similarity| over which concepts count as matched.
    """
    k = len(matching.found_k)
    stable_k = np.ones(k, bool) if stable_k is None else np.asarray(stable_k)
    apart_kk = ~np.eye(k, dtype=bool) & np.outer(stable_k, stable_k)
    chosen_lkk = (np.abs(first.t_lkk) > choose) & (np.abs(first.effect_lkk) > effect) & apart_kk
    matched_k = (np.abs(matching.similarity_k) > alike) & (matching.found_k != UNMATCHED)
    pair_lkk = np.broadcast_to(apart_kk & np.outer(matched_k, matched_k), chosen_lkk.shape)
    found, sign = np.where(matched_k, matching.found_k, 0), np.sign(matching.similarity_k)
    t_lkk = second.t_lkk[:, found][:, :, found] * np.outer(sign, sign)
    agree_lkk = np.sign(t_lkk) == np.sign(first.effect_lkk)
    holds_lkk = agree_lkk & (np.abs(t_lkk) > confirm)
    comparable_lkk = chosen_lkk & pair_lkk
    return Certificate(
        chosen=int(chosen_lkk.sum()),
        comparable=int(comparable_lkk.sum()),
        same_sign=int((comparable_lkk & agree_lkk).sum()),
        certified=int((comparable_lkk & holds_lkk).sum()),
        pairs=int(pair_lkk.sum()),
        by_chance=float((np.abs(t_lkk[pair_lkk]) > confirm).mean() / 2) if pair_lkk.any() else float("nan"),
    )


def _solve(gram_ff: np.ndarray, k: int, ridge: float) -> np.ndarray:
    """Effects of the past [p] on the present [k]; the present comes first in f."""
    past_pp = gram_ff[k:, k:]
    return np.linalg.solve(past_pp + ridge * np.diag(np.diag(past_pp)), gram_ff[k:, :k])


def _grams(codes: CodeTable, lags: int, folds: int, within: Groups | None) -> tuple[np.ndarray, np.ndarray]:
    """Sums of (f - mean)(f - mean)^T over the tokens of each fold, f = [z_t, z_{t-1}, ..], and the tokens."""
    scored_bt = codes.scored(lags)
    place_n = np.flatnonzero(scored_bt)
    documents, document_n = np.unique(codes.document_bt.reshape(-1)[place_n], return_inverse=True)
    fold_n = np.random.default_rng(0).permutation(len(documents))[document_n] % folds
    chunks = _chunks(place_n) if within is None else _groups(within(codes.token_bt, codes.document_bt)[scored_bt])
    z_nk = codes.z_btk.reshape(-1, codes.z_btk.shape[-1])
    mean_k = z_nk[place_n[:: len(place_n) // ROWS + 1]].mean(axis=0, dtype=np.float64).astype(np.float32)
    size = (lags + 1) * len(mean_k)
    gram_gff, sum_gf, tokens_g = np.zeros((folds, size, size)), np.zeros((folds, size)), np.zeros(folds)
    for rows, start in chunks:
        f_nf = np.concatenate([z_nk[place_n[rows] - lag] - mean_k for lag in range(lags + 1)], axis=1)
        if within is not None:
            length = np.diff(np.append(start, len(rows)))
            f_nf -= np.repeat(np.add.reduceat(f_nf, start) / length[:, None], length, axis=0)
        for g in np.unique(fold_n[rows]):
            part_nf = f_nf[fold_n[rows] == g]
            gram_gff[g] += part_nf.T @ part_nf  # of another length each time: NumPy need not compile
            sum_gf[g] += part_nf.sum(axis=0)
            tokens_g[g] += len(part_nf)
    mean_f = sum_gf.sum(axis=0) / max(tokens_g.sum(), 1)
    cross_gff = sum_gf[:, :, None] * mean_f
    return gram_gff - cross_gff - np.swapaxes(cross_gff, 1, 2) + tokens_g[:, None, None] * np.outer(
        mean_f, mean_f
    ), tokens_g


Chunk = tuple[np.ndarray, np.ndarray]
"""Numbers of some tokens, and where each of their groups starts among them."""


def _chunks(place_n: np.ndarray) -> Iterator[Chunk]:
    for first in range(0, len(place_n), ROWS):
        yield np.arange(first, min(first + ROWS, len(place_n))), np.zeros(1, int)


def _groups(group_n: np.ndarray) -> Iterator[Chunk]:
    """Whole groups, about `ROWS` tokens of them together; tokens that are alone in theirs are left out."""
    order_n = np.argsort(group_n, kind="stable")
    _, start_g, count_g = np.unique(group_n[order_n], return_index=True, return_counts=True)
    start_g, count_g = start_g[count_g > 1], count_g[count_g > 1]
    chunk_g = np.cumsum(count_g) // ROWS
    for chunk in np.unique(chunk_g):
        starts, counts = start_g[chunk_g == chunk], count_g[chunk_g == chunk]
        rows = np.concatenate([order_n[start : start + count] for start, count in zip(starts, counts, strict=True)])
        yield rows, np.append(0, np.cumsum(counts)[:-1])
