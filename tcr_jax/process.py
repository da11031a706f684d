"""The causal process that concepts follow: prediction, innovations, simulation, impulse responses, explanations.

    z_t = sum_l B_l z_{t-l}  +  M z_t  +  c  +  eps_t          Song et al. 2025 (arXiv 2509.23323), eq. 2

All functions take one sequence `z_tk`; `jax.vmap` them over a batch. A lag never reaches across a document boundary or
into a dropped position: `document_t` says which (see `tcr_jax.typing`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tcr_jax.params import Process
from tcr_jax.typing import DROPPED, Array


class Prediction(NamedTuple):
    """The part of z_t that is predicted, by where it comes from. The prediction is their sum."""

    past_tk: jax.Array  # sum_l B_l z_{t-l} + c
    present_tk: jax.Array  # M z_t


class Response(NamedTuple):
    """What one unit of a concept does over the next tokens; index 0 of `h` is the token of the impulse."""

    total_hk: jax.Array  # along every path
    direct_hk: jax.Array  # along the single edges M (h = 0) and B_h only


class Explanation(NamedTuple):
    """One concept's prediction at one token, taken apart: the contributions add up to `prediction`."""

    delayed_lk: jax.Array  # B_l[concept, j] z_{t-l, j}
    instantaneous_k: jax.Array  # M[concept, j] z_{t, j}
    intercept: jax.Array
    prediction: jax.Array


def history(document_t: Array, lags: int) -> jax.Array:
    """True where all `lags` earlier positions were kept and belong to the same document.

    Only there is a prediction complete, so only there are innovations scored.

    >>> import jax.numpy as jnp, tcr_jax
    >>> tcr_jax.history(jnp.array([0, 0, 0, -1, 1, 1, 1]), lags=2).tolist()
    [False, False, True, False, False, False, True]
    """
    earlier_t = _pad(jnp.asarray(document_t), lags, DROPPED)
    length = document_t.shape[0]
    complete_t = jnp.asarray(document_t) >= 0
    for lag in range(1, lags + 1):
        complete_t &= earlier_t[lags - lag : lags - lag + length] == document_t
    return complete_t


def predict(process: Process, z_tk: Array, document_t: Array) -> Prediction:
    """sum_l B_l z_{t-l} + c, and M z_t, for every token of one sequence.

    Every token is used where it lies: no window is copied, and beyond the parameters memory is O(t k), also under
    `jax.grad`. Earlier positions out of reach contribute nothing.

    Args:
      process: B [l, k, k], M [k, k], [target, source]; the products run in their dtype and accumulate in float32.
      z_tk: concepts.
      document_t: document of each position, negative where dropped.

    >>> import jax.numpy as jnp, tcr_jax
    >>> process = tcr_jax.Process(b_lkk=jnp.array([[[0.0, 0.5], [0.0, 0.0]]]), m_kk=None, intercept_k=None)
    >>> z_tk = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> tcr_jax.predict(process, z_tk, jnp.zeros(2, int)).past_tk.tolist()
    [[0.0, 0.0], [1.0, 0.0]]
    """
    z_tk = jnp.asarray(z_tk, jnp.float32)
    past_tk = jnp.zeros_like(z_tk)
    if process.b_lkk is not None:
        past_tk = _delayed(process.b_lkk, z_tk, jnp.asarray(document_t))
    if process.intercept_k is not None:
        past_tk = past_tk + process.intercept_k
    present_tk = jnp.zeros_like(z_tk) if process.m_kk is None else _apply(process.m_kk, z_tk)
    return Prediction(past_tk, present_tk)


def innovations(process: Process, z_tk: Array, document_t: Array) -> jax.Array:
    """eps_t = z_t - M z_t - c - sum_l B_l z_{t-l}: what neither the past nor the rest of the token explains.

    Meaningful where `history(document_t, l)` holds. See `predict` for the arguments.

    >>> import jax.numpy as jnp, tcr_jax
    >>> process = tcr_jax.Process(b_lkk=jnp.array([[[0.0, 0.5], [0.0, 0.0]]]), m_kk=None, intercept_k=None)
    >>> eps_tk = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> z_tk = tcr_jax.simulate(process, eps_tk)
    >>> tcr_jax.innovations(process, z_tk, jnp.zeros(2, int)).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    past_tk, present_tk = predict(process, z_tk, document_t)
    return jnp.asarray(z_tk) - past_tk - present_tk


def simulate(process: Process, eps_tk: Array) -> jax.Array:
    """Runs the process from rest on given innovations: z_t = (I - M)^{-1} (sum_l B_l z_{t-l} + c + eps_t).

    The inverse of `innovations` on one document. M need not be triangular, only I - M invertible.

    Args:
      process: the relations.
      eps_tk: innovations.

    Returns:
      z_tk, float32.

    >>> import jax.numpy as jnp, tcr_jax
    >>> process = tcr_jax.Process(b_lkk=jnp.array([[[0.5]]]), m_kk=None, intercept_k=None)
    >>> tcr_jax.simulate(process, jnp.array([[1.0], [0.0], [0.0]])).tolist()
    [[1.0], [0.5], [0.25]]
    """
    eps_tk = jnp.asarray(eps_tk, jnp.float32)
    b_lkk, inverse_kk = _reduced(process, eps_tk.shape[-1])
    intercept = 0.0 if process.intercept_k is None else process.intercept_k

    def step(earlier_lk: jax.Array, eps_k: jax.Array) -> tuple[jax.Array, jax.Array]:
        z_k = inverse_kk @ (jnp.einsum("lij,lj->i", b_lkk, earlier_lk) + intercept + eps_k)
        return jnp.concatenate([z_k[None], earlier_lk])[: len(earlier_lk)], z_k

    return jax.lax.scan(step, jnp.zeros(b_lkk.shape[:2]), eps_tk)[1]


def impulse_response(process: Process, concept: int, horizon: int) -> Response:
    """What one unit of innovation in `concept` does to every concept at the same token and the `horizon` after it.

    Total effects follow R_0 = (I - M)^{-1}, R_h = R_0 sum_l B_l R_{h-l}; direct effects are column `concept` of M and
    of B_h, zero beyond the last lag.

    Returns:
      `Response` of two arrays [horizon + 1, k].

    Raises:
      IndexError: `concept` lies outside the dictionary.

    >>> import jax.numpy as jnp, tcr_jax
    >>> process = tcr_jax.Process(b_lkk=0.5 * jnp.eye(2)[None], m_kk=jnp.array([[0.0, 0.0], [2.0, 0.0]]),
    ...                           intercept_k=None)
    >>> response = tcr_jax.impulse_response(process, concept=0, horizon=1)
    >>> response.total_hk.tolist()
    [[1.0, 2.0], [0.5, 2.0]]
    >>> response.direct_hk.tolist()
    [[0.0, 2.0], [0.5, 0.0]]
    """
    width = _width(process)
    if not 0 <= concept < width:
        raise IndexError(f"concept={concept} outside a dictionary of {width} concepts")
    impulse_hk = jnp.zeros((horizon + 1, width)).at[0, concept].set(1.0)
    total_hk = simulate(process.replace(intercept_k=None), impulse_hk)
    direct_hk = jnp.zeros((horizon + 1, width))
    if process.m_kk is not None:
        direct_hk = direct_hk.at[0].set(process.m_kk[:, concept])
    if process.b_lkk is not None:
        reach = min(horizon, len(process.b_lkk))
        direct_hk = direct_hk.at[1 : reach + 1].set(process.b_lkk[:reach, :, concept])
    return Response(total_hk, direct_hk)


def explain(process: Process, z_tk: Array, document_t: Array, token: int, concept: int) -> Explanation:
    """Why is `concept` predicted at `token`? Every earlier and simultaneous concept's contribution.

    Args:
      process: the relations.
      z_tk: concepts of one sequence.
      document_t: document of each position, negative where dropped.
      token: position t explained.
      concept: latent explained.

    Returns:
      `Explanation`; a part that the process lacks is zero, with no rows for missing lags.

    Raises:
      IndexError: `token` or `concept` lies outside the sequence or the dictionary.

    >>> import jax.numpy as jnp, tcr_jax
    >>> process = tcr_jax.Process(b_lkk=jnp.array([[[0.0, 0.5], [0.0, 0.0]]]), m_kk=None, intercept_k=None)
    >>> z_tk = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> why = tcr_jax.explain(process, z_tk, jnp.zeros(2, int), token=1, concept=0)
    >>> why.delayed_lk.tolist(), float(why.prediction)
    ([[0.0, 1.0]], 1.0)
    """
    tokens, latents = z_tk.shape
    if not (0 <= token < tokens and 0 <= concept < latents):
        raise IndexError(f"token={token}, concept={concept} outside a sequence of {tokens} tokens, {latents} concepts")
    lags = 0 if process.b_lkk is None else len(process.b_lkk)
    earlier = token - 1 - jnp.arange(lags)
    reachable_l = (earlier >= 0) & (document_t[earlier] == document_t[token]) & (document_t[token] >= 0)
    z_lk = jnp.where(reachable_l[:, None], z_tk[earlier], 0)
    delayed_lk = jnp.zeros((0, latents)) if process.b_lkk is None else process.b_lkk[:, concept] * z_lk
    instantaneous_k = jnp.zeros(latents) if process.m_kk is None else jnp.asarray(process.m_kk[concept] * z_tk[token])
    intercept = jnp.zeros(()) if process.intercept_k is None else jnp.asarray(process.intercept_k)[concept]
    prediction = delayed_lk.sum() + instantaneous_k.sum() + intercept
    return Explanation(delayed_lk, instantaneous_k, intercept, prediction)


def reduced_past(process: Process, past_tk: Array) -> jax.Array:
    """(I - M)^{-1} (sum_l B_l z_{t-l} + c): the prediction of z_t from the past alone; `past_tk` is from `predict`."""
    if process.m_kk is None:
        return jnp.asarray(past_tk)
    return jnp.linalg.solve(jnp.eye(_width(process)) - process.m_kk.astype(jnp.float32), past_tk.T).T


def spectral_radius(process: Process, iterations: int = 100) -> jax.Array:
    """The growth of the process a token: the process is stable (assumption A3) where it is below 1.

    An estimate, to about 1 %, less where the leading eigenvalues nearly coincide: power iteration on
    z_t = (I - M)^{-1} sum_l B_l z_{t-l}, the growth averaged over the second half of the iterations, which also settles
    where they are a complex pair. Each iteration reads B once.

    >>> import jax.numpy as jnp, tcr_jax
    >>> round(float(tcr_jax.spectral_radius(tcr_jax.Process(0.9 * jnp.eye(3)[None], None, None))), 4)
    0.9
    """
    if process.b_lkk is None:
        return jnp.zeros(())
    b_lkk, inverse_kk = _reduced(process, _width(process))

    def step(earlier_lk: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        z_k = inverse_kk @ jnp.einsum("lij,lj->i", b_lkk, earlier_lk)
        earlier_lk = jnp.concatenate([z_k[None], earlier_lk])[: len(earlier_lk)]
        norm = jnp.linalg.norm(earlier_lk)
        return earlier_lk / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny), norm

    start_lk = jax.random.normal(jax.random.key(0), b_lkk.shape[:2])
    _, norms = jax.lax.scan(step, start_lk / jnp.linalg.norm(start_lk), length=iterations)
    growth = jnp.log(jnp.maximum(norms[iterations // 2 :], jnp.finfo(jnp.float32).tiny))
    return jnp.exp(growth.mean())


def _delayed(b_lkk: Array, z_tk: jax.Array, document_t: jax.Array) -> jax.Array:
    """sum_l B_l z_{t-l}, one lag after the other. The slices are made again for the gradient instead of stored."""
    lags, tokens = len(b_lkk), len(z_tk)
    padded_z, padded_document = _pad(z_tk, lags, 0), _pad(document_t, lags, DROPPED)

    @jax.checkpoint
    def add_lag(past_tk: jax.Array, lag: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        index, b_kk = lag
        start = lags - 1 - index
        earlier_tk = jax.lax.dynamic_slice_in_dim(padded_z, start, tokens)
        earlier_document_t = jax.lax.dynamic_slice_in_dim(padded_document, start, tokens)
        reachable_t = (earlier_document_t == document_t) & (document_t >= 0)
        return past_tk + _apply(b_kk, jnp.where(reachable_t[:, None], earlier_tk, 0)), None

    return jax.lax.scan(add_lag, jnp.zeros_like(z_tk), (jnp.arange(lags), b_lkk))[0]


def _apply(matrix_kk: Array, z_tk: jax.Array) -> jax.Array:
    """Every row of z times a [target, source] matrix."""
    return jnp.einsum("tj,ij->ti", z_tk.astype(matrix_kk.dtype), matrix_kk, preferred_element_type=jnp.float32)


def _pad(values_t: jax.Array, lags: int, fill: float) -> jax.Array:
    """`lags` positions of `fill` before the first."""
    return jnp.pad(values_t, [(lags, 0)] + [(0, 0)] * (values_t.ndim - 1), constant_values=fill)


def _width(process: Process) -> int:
    """Number of concepts. Raises `ValueError` where the process has no part that would know it."""
    leaves = jax.tree.leaves(process)
    if not leaves:
        raise ValueError("the process is empty: its model was trained with mode=dictionary and has no relations")
    return leaves[0].shape[-1]


def _reduced(process: Process, width: int) -> tuple[jax.Array, jax.Array]:
    """B (with no lags where the process has none) and (I - M)^{-1}."""
    b_lkk = jnp.zeros((0, width, width)) if process.b_lkk is None else jnp.asarray(process.b_lkk)
    identity_kk = jnp.eye(width)
    inverse_kk = identity_kk if process.m_kk is None else jnp.linalg.solve(identity_kk - process.m_kk, identity_kk)
    return b_lkk, inverse_kk
