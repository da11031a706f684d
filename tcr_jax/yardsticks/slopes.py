"""Delayed effects of each source by itself, within groups of tokens, and those that two halves of the documents share.

    slope_l[i, j] = cov(z_i(t), z_j(t-l) | group of t) / var(z_j(t-l) | group of t)

An intervention in a language model leaves the text as it is, so the target's token is given: within tokens of one id,
this is what a concept adds to a later one, beyond what the later token's identity says. Other concepts of the source's
token are not held: an edit along a direction of the residual stream moves them too.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.lexical import Groups


class Slopes(NamedTuple):
    """Change of target i for one unit of source j, `l` tokens earlier, and its uncertainty over documents."""

    effect_lkk: np.ndarray
    t_lkk: np.ndarray


def slopes(codes: CodeTable, lags: int, *, folds: int = 8, within: Groups | None = None) -> Slopes:
    """Slopes with delete-a-group jackknife standard errors; the groups are documents thrown together at random.

    Products are of sparse codes: with n active concepts a token, a token costs l n^2.

    Args:
      codes: of the documents to learn from.
      lags: tokens back.
      folds: groups of documents (g): t has g - 1 degrees of freedom.
      within: the groups of tokens about whose means, in each fold, moments are taken; all tokens by default.

    Raises:
      ValueError: a fold is left without documents.
    """
    cross_glkk, power_glk = by_fold(codes, range(1, lags + 1), folds, within)
    return jackknife(_ratio, cross_glkk, power_glk)


def confirmed(first: Slopes, second: Slopes, std_k: np.ndarray, *, t: float = 5.0, effect: float = 0.02) -> np.ndarray:
    """The effects that both halves of the documents find: [l, k, k], their mean where confirmed, else exactly zero.

    Args:
      first: of one half.
      second: of the other, of the same concepts.
      std_k: each concept's standard deviation.
      t: |t| to be passed in each half, with the same sign.
      effect: standardised effect, |slope| std_j / std_i, to be passed in each half.
    """
    unit_kk = np.divide(std_k, std_k[:, None], out=np.zeros((len(std_k),) * 2), where=std_k[:, None] > 0)
    holds_lkk = np.sign(first.effect_lkk) == np.sign(second.effect_lkk)
    for half in (first, second):
        holds_lkk &= (np.abs(half.t_lkk) > t) & (np.abs(half.effect_lkk) * unit_kk > effect)
    return np.where(holds_lkk, (first.effect_lkk + second.effect_lkk) / 2, 0)


def by_fold(codes: CodeTable, lags: Sequence[int], folds: int, within: Groups | None) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the tokens of each fold of documents: of (z_i(t) - mean)(z_j(t-l) - mean), and of that factor's square.

    The means are of the fold's tokens of one group, at t and at t - l; [g, l, k, k] and [g, l, k].
    """
    scored_bt = codes.scored(max(lags))
    place_n = np.flatnonzero(scored_bt)
    group_n = np.zeros(len(place_n), int) if within is None else within(codes.token_bt, codes.document_bt)[scored_bt]
    documents, document_n = np.unique(codes.document_bt.reshape(-1)[place_n], return_inverse=True)
    if len(documents) < folds:
        raise ValueError(
            f"{len(documents)} documents cannot fill {folds} folds: give more documents, fewer folds or fewer lags; "
            f"documents without a token behind {max(lags)} others do not count"
        )
    fold_n = np.random.default_rng(0).permutation(len(documents))[document_n] % folds
    z_nk = codes.z_btk.reshape(-1, codes.z_btk.shape[-1])
    parts = [_moments(z_nk, place_n[fold_n == fold], group_n[fold_n == fold], lags) for fold in range(folds)]
    cross_glkk, power_glk = (np.stack(part) for part in zip(*parts, strict=True))
    return cross_glkk, power_glk


def jackknife(effect: Callable[..., np.ndarray], *sums_g: np.ndarray) -> Slopes:
    """Effects from the sums of all folds, and t from how they move where each fold in turn is left out."""
    folds, totals = len(sums_g[0]), [part_g.sum(axis=0) for part_g in sums_g]
    effect_lkk = effect(*totals)
    left_out = (
        effect(*(total - part_g[fold] for total, part_g in zip(totals, sums_g, strict=True))) for fold in range(folds)
    )
    error_lkk = np.sqrt((folds - 1) / folds * sum((part_lkk - effect_lkk) ** 2 for part_lkk in left_out))
    return Slopes(effect_lkk, np.divide(effect_lkk, error_lkk, out=np.zeros_like(effect_lkk), where=error_lkk > 0))


def _moments(
    z_nk: np.ndarray, place_n: np.ndarray, group_n: np.ndarray, lags: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over some tokens of (z_i(t) - mean)(z_j(t-l) - mean) and of the second factor's square."""
    _, group_n, count_g = np.unique(group_n, return_inverse=True, return_counts=True)
    member_gn = sp.csr_matrix((np.ones(len(group_n), np.float32), (group_n, np.arange(len(group_n)))))
    share_gg = sp.diags((1 / count_g).astype(np.float32))
    now_nk = _sparse(z_nk, place_n)
    now_gk = member_gn @ now_nk
    cross, power = [], []
    for lag in lags:
        past_nk = _sparse(z_nk, place_n - lag)
        past_gk = member_gn @ past_nk
        cross.append((now_nk.T @ past_nk - now_gk.T @ (share_gg @ past_gk)).toarray())
        power.append(past_nk.power(2).sum(axis=0).A1 - (share_gg @ past_gk.power(2)).sum(axis=0).A1)
    return np.stack(cross), np.stack(power)


def _sparse(z_nk: np.ndarray, place_n: np.ndarray, rows: int = 65_536) -> sp.csr_matrix:
    """Some rows of a table, without a dense copy of all of them."""
    parts = [place_n[first : first + rows] for first in range(0, len(place_n), rows)]
    return sp.vstack([sp.csr_matrix(z_nk[part].astype(np.float32)) for part in parts], format="csr")


def _ratio(cross_lkk: np.ndarray, power_lk: np.ndarray) -> np.ndarray:
    power_l1k = power_lk[:, None]
    return np.divide(cross_lkk, power_l1k, out=np.zeros_like(cross_lkk), where=power_l1k > 1e-6)
