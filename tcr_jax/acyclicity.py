"""Keeping the instantaneous matrix M acyclic: differentiable penalties, an exact projection, and the check.

`M[i, j]` is the effect of j on i. M is acyclic when its concepts can be ordered so that it is strictly lower
triangular: otherwise "M z_t" would need z_t to be known before it is computed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from tcr_jax.typing import Array


def log_det(m_kk: Array) -> jax.Array:
    """-log|det(I - M)|: the normaliser of the likelihood of z given eps = (I - M) z.

    Zero on every DAG. It also vanishes on some cyclic matrices (cycles whose gains cancel), so it drives M towards a
    DAG but does not certify one; `is_acyclic` does.
    Source: Ng et al. 2020 (GOLEM, arXiv 2006.10201), eq. 6.

    >>> import jax.numpy as jnp, tcr_jax
    >>> round(float(tcr_jax.log_det(jnp.array([[0.0, 0.5], [0.5, 0.0]]))), 4)   # -log(1 - 1/4)
    0.2877
    """
    m_kk = jnp.asarray(m_kk, jnp.float32)
    return -jnp.linalg.slogdet(jnp.eye(len(m_kk)) - m_kk)[1]


def dagma(m_kk: Array, s: float = 1.0) -> jax.Array:
    """k log s - log det(s I - M∘M): zero exactly on DAGs, positive elsewhere, inside its domain rho(M∘M) < s.

    Outside the domain the value means nothing. It is infinite where the determinant is not positive, which one cycle
    too strong brings about but two can hide; training starts at M = 0, well inside, and the barrier keeps it there.
    All this is up to float32 rounding, which is large where M is dense and its entries are large: a DAG of 256 concepts
    with every edge, of standard deviation 1, gives -203, and one may give infinity.
    Source: Bello et al. 2022 (arXiv 2209.08037), theorem 1.

    >>> import jax.numpy as jnp, tcr_jax
    >>> round(float(tcr_jax.dagma(jnp.array([[0.0, 0.5], [0.5, 0.0]]))), 4)   # -log(1 - 1/16)
    0.0645
    """
    m_kk = jnp.asarray(m_kk, jnp.float32)
    sign, log = jnp.linalg.slogdet(s * jnp.eye(len(m_kk)) - m_kk**2)
    return jnp.where(sign > 0, len(m_kk) * jnp.log(s) - log, jnp.inf)


def notears(m_kk: Array) -> jax.Array:
    """tr exp(M∘M) - k: zero exactly on DAGs, positive elsewhere; about three times `dagma`'s cost.

    Without a domain, but in float32 not finite everywhere: a cycle of two gains of 10 gives infinity, a single edge of
    1,000 NaN; and from about 100 on, rounding shows (-0.9 for a single edge).

    Source: Zheng et al. 2018 (arXiv 1803.01422), theorem 1.

    >>> import jax.numpy as jnp, tcr_jax
    >>> round(float(tcr_jax.notears(jnp.array([[0.0, 1.0], [1.0, 0.0]]))), 4)   # 2 cosh 1 - 2
    1.0862
    """
    m_kk = jnp.asarray(m_kk, jnp.float32)
    return jnp.trace(jax.scipy.linalg.expm(m_kk**2)) - len(m_kk)


PENALTIES = {"logdet": log_det, "dagma": dagma, "notears": notears}


def allowed(latents: int, triangular: bool) -> jax.Array:
    """True where M may be non-zero [k, k]: below the diagonal if `triangular`, else off the diagonal."""
    ones_kk = jnp.ones((latents, latents), bool)
    return jnp.tril(ones_kk, -1) if triangular else ones_kk & ~jnp.eye(latents, dtype=bool)


def topological_order(m_kk: Array | np.ndarray) -> np.ndarray | None:
    """Concepts ordered so that every edge of M points forward (sources first); None where M has a cycle.

    >>> import numpy as np
    >>> topological_order(np.array([[0, 0, 5], [1, 0, 0], [0, 0, 0]])).tolist()   # 2 -> 0 -> 1
    [2, 0, 1]
    """
    edge_kk = np.asarray(m_kk) != 0
    waiting_k = edge_kk.sum(axis=1)
    order: list[np.intp] = []
    ready = list(np.flatnonzero(waiting_k == 0)[::-1])
    while ready:
        source = ready.pop()
        order.append(source)
        targets = np.flatnonzero(edge_kk[:, source])
        waiting_k[targets] -= 1
        ready.extend(targets[waiting_k[targets] == 0])
    return np.array(order) if len(order) == len(edge_kk) else None


def is_acyclic(m_kk: Array | np.ndarray) -> bool:
    """True if and only if no chain of non-zero effects returns to its start, self-loops included. Exact, on the host.

    >>> import numpy as np, tcr_jax
    >>> tcr_jax.is_acyclic(np.array([[0.0, 0.0], [1e-9, 0.0]])), tcr_jax.is_acyclic(np.array([[0, 1], [1, 0]]))
    (True, False)
    """
    return topological_order(m_kk) is not None


def project_to_dag(m_kk: Array | np.ndarray, rms_k: Array | np.ndarray | None = None) -> np.ndarray:
    """A DAG within M: its entries are put back from the strongest down, each unless it closes a cycle.

    Strength is |M_ij|, or with the concepts' root mean squares the standardised |M_ij| rms_j / rms_i, which does not
    favour edges into concepts of large variance.

    A DAG comes back unchanged; the result is always a DAG, and no removed edge could be put back. (Finding the acyclic
    subgraph of greatest weight is NP-hard; this greedy one loses only edges that are the weakest of some cycle.)
    Runs on the host, in O(k^2) memory.

    >>> import numpy as np, tcr_jax
    >>> tcr_jax.project_to_dag(np.array([[0.0, 0.2], [0.5, 0.0]])).tolist()
    [[0.0, 0.0], [0.5, 0.0]]
    """
    whole_kk = np.asarray(m_kk)
    if is_acyclic(whole_kk):
        return whole_kk
    kept_kk = np.zeros_like(whole_kk)
    reaches_kk = np.eye(len(whole_kk), dtype=bool)  # [source, target]: a path, or the same concept
    targets, sources = np.nonzero(whole_kk)
    strength = np.abs(whole_kk[targets, sources])
    if rms_k is not None:
        rms_k = np.maximum(rms_k, np.finfo(np.float32).tiny)
        strength = strength * rms_k[sources] / rms_k[targets]
    strongest_first = np.argsort(-strength, kind="stable")
    for target, source in zip(targets[strongest_first], sources[strongest_first], strict=True):
        if reaches_kk[target, source]:
            continue
        kept_kk[target, source] = whole_kk[target, source]
        if not reaches_kk[source, target]:
            ancestors = np.flatnonzero(reaches_kk[:, source])
            reaches_kk[ancestors] |= reaches_kk[target]
    assert is_acyclic(kept_kk)
    return kept_kk


def total_effects(m: sp.csr_array) -> sp.csr_array:
    """(I - M)^{-1} = I + M + M^2 + ...: what a concept does within the token along every path. Sparse where M is.

    The series ends, for M is acyclic.
    """
    total = power = sp.eye_array(m.shape[0], format="csr")
    while power.nnz:
        power = power @ m
        total = total + power
    return total
