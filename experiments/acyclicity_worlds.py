"""The processes of `experiments.acyclicity`: their concepts can be faint, and numbered from cause to effect."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.params import Process
from tcr_jax.process import simulate


class World(NamedTuple):
    """The true M, and what the process emitted, in one numbering of the concepts; `n` contexts."""

    m_kk: np.ndarray
    z_ntk: np.ndarray


def world(
    seed: int, latents: int, *, spread: float, faint: float, ordered: bool, contexts: int = 200, context: int = 128
) -> World:
    """A stable process with one lag, about one parent in M and four in B a concept, and Laplace innovations.

    Args:
      seed: of everything; the same process comes in both numberings.
      latents: concepts.
      spread: scales of the innovations are log-uniform from 1/spread to spread.
      faint: share of the concepts that hardly ever move, scale 0.001, without effects in either direction.
      ordered: numbers the concepts from cause to effect, else at random.
      contexts: sequences, each from rest.
      context: tokens of a sequence.
    """
    rng = np.random.default_rng(seed)
    shape = (latents, latents)

    def effects(present_kk: np.ndarray, low: float, high: float) -> np.ndarray:
        return np.where(present_kk, rng.uniform(low, high, shape) * rng.choice([-1, 1], shape), 0)

    m_kk = effects(np.tril(rng.random(shape) < 2 / latents, -1), 0.3, 0.8)
    b_kk = effects(rng.random(shape) < 4 / latents, 0.2, 0.5)
    faint_k = rng.random(latents) < faint
    for matrix_kk in (m_kk, b_kk):
        matrix_kk[faint_k] = matrix_kk[:, faint_k] = 0
    growth = np.abs(np.linalg.eigvals(np.linalg.solve(np.eye(latents) - m_kk, b_kk))).max()
    b_kk *= min(1, 0.9 / growth)
    scale_k = np.where(faint_k, 1e-3, spread ** rng.uniform(-1, 1, latents))
    eps_ntk = rng.laplace(size=(contexts, context, latents)) * scale_k
    process = Process(b_lkk=jnp.float32(b_kk[None]), m_kk=jnp.float32(m_kk), intercept_k=None)
    z_ntk = jax.jit(jax.vmap(simulate, in_axes=(None, 0)))(process, jnp.float32(eps_ntk))
    number = np.arange(latents) if ordered else rng.permutation(latents)
    return World(m_kk[np.ix_(number, number)], np.asarray(z_ntk)[..., number])
