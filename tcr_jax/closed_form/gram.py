"""The Gram matrix of [z_t, .., z_{t-l}] from `CodeMoments`: whole, by rows, or between the parents of each concept.

A source is numbered f = a k + j: concept j at lag a, with a = 0 the token itself.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.closed_form.moments import CodeMoments, Ends
from tcr_jax.typing import Array

CHUNK = 2**25
"""Numbers that an intermediate array may hold."""


def gram(moments: CodeMoments) -> np.ndarray:
    """sum_t f_t f_t^T over scored tokens, exactly: [(l+1) k, (l+1) k] in float32, where memory bears it."""
    lags, k = moments.lags, moments.latents
    change_ff = np.zeros((lags * k, lags * k), np.float32)
    size = max(CHUNK // max(lags * k, 1), 1)
    for first in range(0, len(moments.ends.sign_n) if lags else 0, size):
        sign_n, window_nlk = _windows(moments.ends, slice(first, first + size), k)
        window_nf = window_nlk.reshape(len(sign_n), -1)
        change_ff += np.asarray(jnp.matmul((window_nf * sign_n[:, None]).T, window_nf, precision="highest"))
    gram_ff = np.empty(((lags + 1) * k,) * 2, np.float32)
    for distance in range(lags + 1):
        block_kk = np.array(moments.cross_lkk[distance])
        for a in range(lags + 1 - distance):
            b = a + distance
            if a:
                block_kk += change_ff[(a - 1) * k : a * k, (b - 1) * k : b * k]
            gram_ff[a * k : (a + 1) * k, b * k : (b + 1) * k] = block_kk
            gram_ff[b * k : (b + 1) * k, a * k : (a + 1) * k] = block_kk.T
    return gram_ff


def lag_table(moments: CodeMoments) -> jax.Array:
    """E[z_t,j z_{t-h}] for h = -l .. l, as [k, 2l + 1, k].

    Row (a, j) of the Gram matrix is `table[j, l - a : 2l - a + 1]`: exactly for a = 0, beyond with S_{0,|b-a|} in the
    place of S_{a,b}. They differ by the ends of runs alone, which `support_gram` and `gram` add.
    """
    earlier = [cross_kk.T for cross_kk in moments.cross_lkk[:0:-1]]
    return jnp.stack([*earlier, *moments.cross_lkk], axis=1) / moments.tokens


def support_gram(moments: CodeMoments, table_jhk: Array, source_kp: Array) -> jax.Array:
    """E[f_p f_q] between the sources `source_kp` [k, p] of each target, exactly: [k, p, p]."""
    lags, k = moments.lags, moments.latents
    lag_kp, concept_kp = jnp.divmod(jnp.asarray(source_kp), k)
    gram_kpp = table_jhk[concept_kp[:, :, None], lags + lag_kp[:, None, :] - lag_kp[:, :, None], concept_kp[:, None, :]]
    size = max(CHUNK // max(lags * source_kp.size, 1), 1)
    for first in range(0, len(moments.ends.sign_n) if lags else 0, size):
        sign_n, window_nlk = _windows(moments.ends, slice(first, first + size), k)
        gram_kpp += _change(sign_n, window_nlk, lag_kp, concept_kp) / moments.tokens
    return gram_kpp


@jax.jit
def _change(sign_n: jax.Array, window_nlk: jax.Array, lag_kp: jax.Array, concept_kp: jax.Array) -> jax.Array:
    """sum over ends and c < min(a, b) of sign z_{s-(a-1-c)} z_{s-(b-1-c)}: what the lags (0, b-a) lack of (a, b)."""
    lags = window_nlk.shape[1]

    def moved(gram_kpp: jax.Array, c: jax.Array) -> tuple[jax.Array, None]:
        place_kp = lag_kp - 1 - c
        value_nkp = jnp.where(place_kp >= 0, window_nlk[:, jnp.maximum(place_kp, 0), concept_kp], 0)
        signed_nkp = value_nkp * sign_n[:, None, None]
        return gram_kpp + jnp.einsum("nkp,nkq->kpq", signed_nkp, value_nkp, precision="highest"), None

    zero_kpp = jnp.zeros((*lag_kp.shape, lag_kp.shape[1]))
    return jax.lax.scan(moved, zero_kpp, jnp.arange(lags))[0]


def _windows(ends: Ends, part: slice, latents: int) -> tuple[jax.Array, jax.Array]:
    """The signs and the dense codes [n, l, k] of some ends."""
    return _dense(*(jnp.asarray(values[part]) for values in ends), latents)


@functools.partial(jax.jit, static_argnames="latents")
def _dense(sign_n: jax.Array, index_nla: jax.Array, value_nla: jax.Array, latents: int) -> tuple[jax.Array, jax.Array]:
    n, lags, _ = index_nla.shape
    place = jnp.arange(n)[:, None, None], jnp.arange(lags)[:, None], index_nla
    return sign_n.astype(jnp.float32), jnp.zeros((n, lags, latents)).at[place].add(value_nla)
