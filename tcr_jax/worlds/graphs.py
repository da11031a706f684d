"""The true B and M: sparse matrices [target, source] whose edges are drawn at random, M acyclic."""

import numpy as np
import scipy.sparse as sp

from tcr_jax.worlds.config import WorldConfig
from tcr_jax.worlds.mixing import special_orthogonal

POWER = 2 / 3  # hubs: the concept of rank r has expected degree r^-POWER, so that degrees follow a law of exponent 2.5


def draw_graph(config: WorldConfig, rng: np.random.Generator) -> tuple[list[sp.csr_array], sp.csr_array]:
    """B of every lag, before it is scaled, and M. Concepts are numbered at random, but for the paper's generator."""
    if config.graph == "paper":
        return [_paper_b(config.latents, rng)], _chain(config.latents, 0.5)
    k = config.latents
    weight_k = rng.permutation(np.arange(1, k + 1) ** -POWER if config.graph == "hubs" else np.ones(k))
    b = [_delayed(config, weight_k, rng) for _ in range(config.lags)]
    m = _resize(_instantaneous(config, weight_k, rng), config.m_low, config.m_high, rng)
    number_k = rng.permutation(k)
    return b, m[number_k][:, number_k]


def _delayed(config: WorldConfig, weight_k: np.ndarray, rng: np.random.Generator) -> sp.csr_array:
    others = config.parents - config.own_past
    chance_k = np.minimum(1, others * weight_k / weight_k.sum())
    b = _edges([rng.random(config.latents) < chance_k for _ in range(config.latents)])
    if config.own_past:
        b = (b + sp.eye_array(config.latents)).tocsr()
    return _resize(b, config.b_low, config.b_high, rng)


def _instantaneous(config: WorldConfig, weight_k: np.ndarray, rng: np.random.Generator) -> sp.csr_array:
    """Edges of M, each from a concept to a later one."""
    k, parents = config.latents, config.instant_parents
    if config.graph == "chain":
        return _chain(k, 1.0)
    if config.graph == "a5":
        sources = np.flatnonzero(rng.random(k - 1) < parents)
        targets = rng.integers(sources + 1, k)
        return sp.csr_array((np.ones(len(sources)), (targets, sources)), shape=(k, k))
    block = min(config.block, k) if config.graph == "a6" else k
    number_k = np.arange(k)
    later_k = np.minimum((number_k // block + 1) * block, k) - 1 - number_k  # concepts that a concept may cause
    chance_k = np.minimum(1, parents * k * weight_k / max((weight_k * later_k).sum(), 1))
    rows = []
    for target in range(k):
        present_k = np.zeros(k, bool)
        first = target - target % block
        present_k[first:target] = rng.random(target - first) < chance_k[first:target]
        rows.append(present_k)
    return _edges(rows)


def _paper_b(latents: int, rng: np.random.Generator) -> sp.csr_array:
    """The diagonal and a random tenth of the strict upper triangle of a matrix uniform on SO(k)."""
    shape = (latents, latents)
    kept_kk = np.eye(latents, dtype=bool) | np.triu(rng.random(shape) < 0.1, 1)
    return sp.csr_array(np.where(kept_kk, special_orthogonal(rng, latents), 0))


def _chain(latents: int, size: float) -> sp.csr_array:
    return sp.csr_array(sp.diags_array([np.full(latents - 1, size)], offsets=[-1], shape=(latents, latents)))


def _edges(rows: list[np.ndarray]) -> sp.csr_array:
    """Ones where the rows are true."""
    sources = [np.flatnonzero(row_k) for row_k in rows]
    starts = np.cumsum([0, *map(len, sources)])
    indices = np.concatenate(sources)
    return sp.csr_array((np.ones(len(indices)), indices, starts), shape=(len(rows), len(rows)))


def _resize(edges: sp.csr_array, low: float, high: float, rng: np.random.Generator) -> sp.csr_array:
    """The same edges, their sizes uniform from `low` to `high`, their signs fair."""
    sizes = rng.uniform(low, high, edges.nnz) * rng.choice([-1.0, 1.0], edges.nnz)
    resized = sp.csr_array((sizes, edges.indices, edges.indptr), shape=edges.shape)
    resized.eliminate_zeros()
    return resized
