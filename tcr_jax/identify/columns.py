"""Columns of B' = B (I - M)^{-1}, each to be made sparse by subtracting multiples of others.

Column j of B is u_j = B'_j - sum_i M_ij B'_i over the instantaneous children i of j. A column's cost is about the
number of effects it needs, of B and of M, with a small price on their size that decides between equals:

    sum_r min(u_rj^2 / (2 sigma^2) + log(sigma / sigma_rj), c) + u_rj^2 / (2 s^2)  +  sum_i c_M + M_ij^2 / (2 s_M^2)

in units of c. It is the negative log posterior under a prior in which a share p of the effects is normal with standard
deviation s, the others zero: c = log((1 - p) s / (p sigma)) for the typical sigma, and c_M likewise. sigma_rj is the
standard error of B'_rj, and sigma that of u_rj, with the noise of what was subtracted (see `denoising`): without the
logarithm, a large multiple of a column of noise would pass everything off as zero.
"""

import copy
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.denoising import denoised

Children = dict[int, float]
"""The instantaneous effects of one concept: M_ij by child i."""

LEAST_EFFECT = 0.03
"""Instantaneous effects below this are not looked for."""

TARGETS = 64
"""Regressions are made in multiples of so many, that few programs are compiled."""

KEPT = 24
"""Candidates that are counted: those that absolute values give the largest effects."""

NUMBERS = 2**20
"""Of regressors at a time: what is made of them stays in the cache."""


class Prior(NamedTuple):
    """What is expected of effects."""

    threshold: float  # sqrt(2 c): standard errors from which on an entry is taken for an effect
    size_b: float  # s
    size_m: float  # s_M
    price_m: float  # c_M / c


def without(children: Children, dropped: int | None) -> Children:
    """All of them but one; all, where none is named."""
    return {i: m for i, m in children.items() if i != dropped}


class Columns:
    """The columns, what is known of their noise, and which others each may be explained by."""

    def __init__(self, column_rk: np.ndarray, deviation_rk: np.ndarray, prior: Prior, candidates: int = 64) -> None:
        """`column_rk` stacks B'_l over the lags; `deviation_rk` are its standard errors.

        Candidates are the columns that are most like one's own.
        """
        self.prior = prior
        self.column_rk, deviation_rk = (np.asfortranarray(of, np.float64) for of in (column_rk, deviation_rk))
        self.limit_rk = prior.threshold * deviation_rk
        self.large, self.large_m = prior.threshold * prior.size_b, prior.threshold * prior.size_m
        self.clean_rk, variance_rk = denoised(self.column_rk, deviation_rk)  # what is subtracted
        self.clean_limit_rk = prior.threshold * np.sqrt(variance_rk)
        unit_rk = self.clean_rk / np.maximum(np.linalg.norm(self.clean_rk, axis=0), 1e-30)
        self._likeness_kk = np.abs(unit_rk.T @ unit_rk)
        self.candidate_kc = _most_alike(self._likeness_kk, min(candidates, self.count - 1))

    def preferring(self, near_kk: np.ndarray) -> "Columns":
        """The same columns, with those that are near a column as its first candidates."""
        changed = copy.copy(self)
        changed.candidate_kc = _most_alike(self._likeness_kk + near_kk, self.candidate_kc.shape[1])
        return changed

    @property
    def count(self) -> int:
        return self.column_rk.shape[1]

    def remainder(self, j: int, children: Children) -> tuple[np.ndarray, np.ndarray]:
        """u_j, and how large an entry of it may be and still count as zero."""
        u_r, square_limit_r = self.column_rk[:, j].copy(), np.square(self.limit_rk[:, j])
        for i, effect in children.items():
            u_r -= effect * self.clean_rk[:, i]
            square_limit_r += np.square(effect * self.clean_limit_rk[:, i])
        return u_r, np.sqrt(square_limit_r)

    def cost(self, j: int, children: Children) -> float:
        """Non-zeros left in u_j, and edges."""
        return self._read(j, children)[-1]

    def _read(self, j: int, children: Children) -> tuple[np.ndarray, np.ndarray, float]:
        """The limits of u_j, what it costs to take its entries for zero (in the price of an effect), and the cost."""
        u_r, limit_r = self.remainder(j, children)
        as_zero_r = np.square(u_r / limit_r) + self._wider(limit_r, self.limit_rk[:, j])
        size = np.square(u_r).sum() / self.large**2 + sum(m**2 for m in children.values()) / self.large_m**2
        cost = float(np.minimum(as_zero_r, 1).sum() + size) + self.prior.price_m * len(children)
        return limit_r, as_zero_r, cost

    def _wider(self, limit: np.ndarray, own_limit: np.ndarray) -> np.ndarray:
        """The part of it for limits that noise from elsewhere has widened: log(sigma / sigma_rj) / c."""
        return 2 * np.log(limit / own_limit) / self.prior.threshold**2

    def refit(self, j: int, children: Children, rounds: int = 6) -> tuple[Children, float]:
        """The effects of these children by least squares on the entries that they bring to zero, and the cost."""
        best, (limit_r, as_zero_r, lowest) = children, self._read(j, children)
        clean_rc = self.clean_rk[:, list(children)]
        for _ in range(rounds if children else 0):
            weight_r = (as_zero_r < 1) / limit_r**2 + self.large**-2
            weighted_cr = (clean_rc * weight_r[:, None]).T
            gram_cc = weighted_cr @ clean_rc
            gram_cc[np.diag_indices_from(gram_cc)] += 1e-9 * np.trace(gram_cc) + self.large_m**-2
            effect_c = np.linalg.solve(gram_cc, weighted_cr @ self.column_rk[:, j])
            children = dict(zip(children, effect_c.tolist(), strict=True))
            limit_r, as_zero_r, cost = self._read(j, children)
            if cost >= lowest - 1e-9:
                break
            best, lowest = children, cost
        return best, lowest

    def pruned(self, j: int, children: Children) -> tuple[Children, float]:
        """Refitted, without the children that do not pay for themselves."""
        children, cost = self.refit(j, children)
        while children:
            fewer = [self.refit(j, without(children, dropped)) for dropped in children]
            best = min(fewer, key=lambda option: option[1])
            if best[1] > cost:
                break
            children, cost = best
        return children, cost

    def regress(self, target_a: np.ndarray, allowed_ac: np.ndarray, least: float) -> list[Children]:
        """Children of each target among its allowed candidates, by robust regression on all of them at once.

        `least` is the size from which on an effect counts as one when counting begins; it ends at 0.05.
        """
        padding = -len(target_a) % TARGETS
        target_a = np.concatenate([target_a, np.zeros(padding, int)])
        allowed_ac = np.concatenate([allowed_ac, np.zeros((padding, allowed_ac.shape[1]), bool)])
        effect_ac = _regressions(
            jnp.float32(self.column_rk.T),
            jnp.float32(self.limit_rk.T),
            self.candidate_kc,
            target_a,
            allowed_ac,
            least,
            size=min(TARGETS, max(1, NUMBERS // (len(self.column_rk) * self.candidate_kc.shape[1]))),
        )
        found: list[Children] = []
        for j, effect_c in zip(target_a[: len(target_a) - padding], np.asarray(effect_ac, np.float64), strict=False):
            present = np.flatnonzero(np.abs(effect_c) > 2 * LEAST_EFFECT)
            found.append({int(self.candidate_kc[j, c]): float(effect_c[c]) for c in present})
        return found

    def additions(
        self, remainders: list[tuple[np.ndarray, np.ndarray]], target_a: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """For every remainder of a target and every candidate of it: the best effect, and the change of cost."""
        padding = ((0, -len(target_a) % 256), (0, 0))
        u_ar, limit_ar = (np.stack(part) for part in zip(*remainders, strict=True))
        wider_ar = self._wider(limit_ar, self.limit_rk.T[target_a])
        u_ar, wider_ar = (np.pad(part_ar.astype(np.float32), padding) for part_ar in (u_ar, wider_ar))
        limit_ar = np.pad(limit_ar.astype(np.float32), padding, constant_values=1)
        candidate_ac = self.candidate_kc[np.pad(target_a, padding[0])]
        prices = self.large, self.large_m, self.prior.price_m, self.prior.threshold
        effect_ac, change_ac = _votes(u_ar, limit_ar, wider_ar, *self._telling, candidate_ac, *prices)
        return np.asarray(effect_ac)[: len(target_a)], np.asarray(change_ac)[: len(target_a)]

    @functools.cached_property
    def _telling(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every column its clearest entries: their rows, values and limits."""
        clearness_rk = np.abs(self.clean_rk / self.limit_rk)
        row_kq = np.argsort(-clearness_rk, axis=0)[: min(192, len(clearness_rk))].T
        own_k1 = np.arange(self.count)[:, None]
        x_kq, limit_kq = self.clean_rk[row_kq, own_k1], self.clean_limit_rk[row_kq, own_k1]
        return row_kq, x_kq.astype(np.float32), limit_kq.astype(np.float32)


def _most_alike(likeness_kk: np.ndarray, count: int) -> np.ndarray:
    """Of every column the others that are most like it, the first most."""
    likeness_kk = np.where(np.eye(len(likeness_kk), dtype=bool), -1, likeness_kk)
    return np.argsort(-likeness_kk, axis=1)[:, :count]


@jax.jit
def _votes(
    u_ar: jax.Array,
    limit_ar: jax.Array,
    wider_ar: jax.Array,
    row_kq: jax.Array,
    x_kq: jax.Array,
    limit_kq: jax.Array,
    candidate_ac: jax.Array,
    large: float,
    large_m: float,
    price_m: float,
    threshold: float,
) -> tuple[jax.Array, jax.Array]:
    """Every clear entry of a candidate proposes the effect that brings u to zero there; the best is counted out."""
    proposals = min(24, row_kq.shape[1])

    def one(u_r: jax.Array, limit_r: jax.Array, wider_r: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
        u_q, own_limit_q, wider_q, x_q = u_r[row_kq[c]], limit_r[row_kq[c]], wider_r[row_kq[c]], x_kq[c]
        effect_p = jnp.where(x_q == 0, 0, u_q / jnp.where(x_q == 0, 1, x_q))[:proposals]
        limit_pq = jnp.sqrt(own_limit_q**2 + (effect_p[:, None] * limit_kq[c]) ** 2)
        after_pq = u_q - effect_p[:, None] * x_q
        wider_pq = wider_q + 2 * jnp.log(limit_pq / own_limit_q) / threshold**2
        as_zero_pq = jnp.square(after_pq / limit_pq) + wider_pq
        cost_p = (jnp.minimum(as_zero_pq, 1) + jnp.square(after_pq / large)).sum(axis=1)
        cost_p = jnp.where(jnp.abs(effect_p) > LEAST_EFFECT, cost_p, jnp.inf)
        best = jnp.argmin(cost_p)
        before = (jnp.minimum(jnp.square(u_q / own_limit_q) + wider_q, 1) + jnp.square(u_q / large)).sum()
        return effect_p[best], cost_p[best] + price_m + jnp.square(effect_p[best] / large_m) - before

    def of_target(of: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        return jax.vmap(one, in_axes=(None, None, None, 0))(*of)

    return jax.lax.map(of_target, (u_ar, limit_ar, wider_ar, candidate_ac), batch_size=16)


@functools.partial(jax.jit, static_argnames="size")
def _regressions(
    column_kr: jax.Array,
    limit_kr: jax.Array,
    candidate_kc: jax.Array,
    target_a: jax.Array,
    allowed_ac: jax.Array,
    first_least: float,
    size: int,
) -> jax.Array:
    """Least absolute values, then ever closer to counting non-zeros; effects [a, c].

    Iteratively reweighted least squares. Absolute values find the neighbourhood (the problem is convex); u^2 / (u^2 +
    s^2), with s falling to the limit at which an entry counts as zero, then finds the sparsest solution in it, among
    the candidates that absolute values give the largest effects.
    """

    def one(target: jax.Array, allowed_c: jax.Array) -> jax.Array:
        y_r, limit_r = column_kr[target], limit_kr[target]
        x_cr = jnp.where(allowed_c[:, None], column_kr[candidate_kc[target]], 0)

        def solve(effect_c: jax.Array, weight_r: jax.Array, price_c: jax.Array) -> jax.Array:
            weighted_cr = x_cr * weight_r
            gram_cc = jnp.matmul(weighted_cr, x_cr.T, precision="highest") + jnp.diag(price_c)
            return jax.scipy.linalg.solve(gram_cc, weighted_cr @ y_r, assume_a="pos")

        def absolute(_: int, effect_c: jax.Array) -> jax.Array:
            u_r = y_r - effect_c @ x_cr
            price_c = 0.05 / jnp.maximum(jnp.abs(effect_c), 0.02)
            return solve(effect_c, 1 / jnp.maximum(jnp.abs(u_r), limit_r), price_c)

        def counting(step: int, effect_c: jax.Array) -> jax.Array:
            scale_r = jnp.maximum(1.0, 30 * 0.8**step) * limit_r
            least = jnp.maximum(0.05, first_least * 0.86**step)
            u_r = y_r - effect_c @ x_cr
            weight_r = 2 * jnp.square(scale_r / (jnp.square(u_r) + jnp.square(scale_r)))
            return solve(effect_c, weight_r, 2 * jnp.square(least / (jnp.square(effect_c) + least**2)))

        start_c = jax.lax.fori_loop(0, 20, absolute, jnp.zeros(len(allowed_c)))
        _, kept_c = jax.lax.top_k(jnp.abs(start_c), min(KEPT, len(allowed_c)))
        x_cr = x_cr[kept_c]
        effect_c = jax.lax.fori_loop(0, 30, counting, start_c[kept_c])
        return jnp.where(allowed_c, jnp.zeros(len(allowed_c)).at[kept_c].set(effect_c), 0)

    return jax.lax.map(lambda of: one(*of), (target_a, allowed_ac), batch_size=size)
