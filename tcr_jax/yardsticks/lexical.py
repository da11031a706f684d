"""What token identity alone says of a code: its mean after each token id, or pair of ids, in training documents.

    m_g = (sum of z over the n_g tokens of group g + kappa m_parent(g)) / (n_g + kappa)

A rare group is drawn towards its parent (a pair of ids towards its later id, an id towards the mean), an unseen one is
its parent. kappa is within-group over between-group variance: the empirical Bayes estimate of one-way random effects
(Searle, Casella and McCulloch 1992, section 3.6), whose between-group variance is about the mean of all. For pairs,
which are drawn towards their later id's mean, that is too large and kappa too small: they shrink less than is best.
"""

from collections.abc import Callable, Iterable

import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from flax import struct

from tcr_jax.dictionary import encode
from tcr_jax.params import Dictionary
from tcr_jax.store import Batch
from tcr_jax.typing import DROPPED, Array

Groups = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(token_bt, document_bt) -> int64 group of each position, DROPPED where it has none."""


def current(token_bt: np.ndarray, document_bt: np.ndarray) -> np.ndarray:
    """The token's own id."""
    return np.where(np.asarray(document_bt) >= 0, token_bt, DROPPED).astype(np.int64)


def previous(token_bt: np.ndarray, document_bt: np.ndarray) -> np.ndarray:
    """The id before it, in the same document."""
    document_bt = np.asarray(document_bt)
    earlier_bt = np.pad(document_bt[:, :-1], ((0, 0), (1, 0)), constant_values=DROPPED)
    reachable_bt = (earlier_bt == document_bt) & (document_bt >= 0)
    return np.where(reachable_bt, np.pad(token_bt[:, :-1], ((0, 0), (1, 0))), DROPPED).astype(np.int64)


def bigram(token_bt: np.ndarray, document_bt: np.ndarray) -> np.ndarray:
    """The id before it and its own."""
    earlier_bt, own_bt = previous(token_bt, document_bt), current(token_bt, document_bt)
    return np.where((earlier_bt >= 0) & (own_bt >= 0), earlier_bt << 32 | own_bt, DROPPED)


class GroupMeans(struct.PyTreeNode):
    """The mean code of each group; called as a predictor (see `prediction`)."""

    groups: Groups = struct.field(pytree_node=False)
    group_g: np.ndarray  # ascending
    count_g: np.ndarray
    sum_gk: sp.csr_matrix = struct.field(pytree_node=False)
    kappa: float
    parent: "np.ndarray | GroupMeans"  # the mean of all

    def __call__(self, z_btk: Array, batch: Batch) -> Array:
        group_n = self.groups(np.asarray(batch.token_bt), np.asarray(batch.document_bt)).reshape(-1)
        place_n = np.minimum(np.searchsorted(self.group_g, group_n), len(self.group_g) - 1)
        seen_n = (self.group_g[place_n] == group_n)[:, None]
        if isinstance(self.parent, GroupMeans):
            parent_nk = np.asarray(self.parent(z_btk, batch)).reshape(len(group_n), -1)
        else:
            parent_nk = self.parent[None]
        count_n1 = np.where(seen_n, self.count_g[place_n][:, None], 0).astype(np.float32)
        sum_nk = np.where(seen_n, self.sum_gk[place_n].toarray(), 0)
        mean_nk = (sum_nk + self.kappa * parent_nk) / (count_n1 + self.kappa)
        return jnp.asarray(mean_nk.reshape(z_btk.shape), jnp.float32)


def group_means(
    dictionary: Dictionary, batches: Iterable[Batch], groups: Groups, parent: GroupMeans | None = None
) -> GroupMeans:
    """One pass over training documents; memory grows with the active latents of all tokens (8 bytes each)."""
    parts: list[tuple[np.ndarray, sp.csr_matrix]] = []
    for batch in batches:
        group_bt = groups(np.asarray(batch.token_bt), np.asarray(batch.document_bt))
        z_nk = np.asarray(encode(dictionary, jnp.asarray(batch.x_btd)))[group_bt >= 0]
        parts.append((group_bt[group_bt >= 0], sp.csr_matrix(z_nk)))
    group_n, z_nk = np.concatenate([group for group, _ in parts]), sp.vstack([z for _, z in parts], format="csr")
    group_g, place_n, count_g = np.unique(group_n, return_inverse=True, return_counts=True)
    member_gn = sp.csr_matrix((np.ones(len(place_n), np.float32), (place_n, np.arange(len(place_n)))))
    sum_gk = (member_gn @ z_nk).tocsr()
    mean_k = np.asarray(z_nk.mean(axis=0), np.float32).reshape(-1)
    kappa = _kappa(float(z_nk.multiply(z_nk).sum()), sum_gk, count_g, mean_k)
    return GroupMeans(groups, group_g, count_g, sum_gk, kappa, mean_k if parent is None else parent)


def _kappa(square: float, sum_gk: sp.csr_matrix, count_g: np.ndarray, mean_k: np.ndarray) -> float:
    """Within-group variance of a token over the variance of the groups' true means, by the method of moments."""
    tokens, groups = count_g.sum(), len(count_g)
    explained = float((sum_gk.multiply(sum_gk).sum(axis=1).A1 / count_g).sum())
    within = (square - explained) / max(tokens - groups, 1)
    mean_square = (explained - tokens * float(np.square(mean_k, dtype=np.float64).sum())) / max(groups - 1, 1)
    size = (tokens - float(np.square(count_g, dtype=np.float64).sum()) / tokens) / max(groups - 1, 1)
    between = max(mean_square - within, 1e-9) / max(size, 1e-9)
    return max(within / between, 1e-6)
