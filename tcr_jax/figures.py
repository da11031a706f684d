"""The figures of a model on data: how well it reconstructs, how sparse it is, how much of z it predicts.

Sums are collected batch by batch and turned into figures at the end, so that a figure over many batches is exactly the
figure over their union.
"""

import jax
import jax.numpy as jnp
from flax import struct

from tcr_jax.objective import Forward
from tcr_jax.params import Params
from tcr_jax.process import reduced_past
from tcr_jax.typing import Array


class Sums(struct.PyTreeNode):
    """Sums over the tokens of some batches; two add up with `jax.tree.map(jnp.add, a, b)`."""

    kept: jax.Array  # positions reconstructed
    scored: jax.Array  # positions predicted: those with full history
    x_d: jax.Array  # of (x - mean) / scale, over kept positions
    xx: jax.Array
    error: jax.Array  # squared, of the reconstruction, in the same unit
    fired_k: jax.Array  # of z != 0
    z_k: jax.Array  # of z, over scored positions
    zz_k: jax.Array
    eps_k: jax.Array  # of eps^2
    unpredicted_k: jax.Array  # of the squared error of the prediction from the past alone


def collect(params: Params, out: Forward, *, past: bool = True) -> Sums:
    """The sums of one batch.

    Args:
      params: the model that made `out`.
      out: what `objective.forward` returned.
      past: whether to predict from the past alone, which costs a k x k solve; without, `r2_past` is not a number.
    """
    kept, scored = out.kept_bt[..., None], out.scored_bt[..., None]
    dictionary = params.dictionary
    x_btd = jnp.where(kept, (out.x_btd - dictionary.mean_d) / dictionary.scale, 0)
    error_btd = jnp.where(kept, (out.x_btd - out.reconstruction_btd) / dictionary.scale, 0)

    def total(values_btk: jax.Array) -> jax.Array:
        return jnp.where(scored, values_btk, 0).sum(axis=(0, 1))

    if past:
        from_past_btk = jax.vmap(reduced_past, in_axes=(None, 0))(params.process, out.past_btk)
        unpredicted_k = total(jnp.square(out.z_btk - from_past_btk))
    else:
        unpredicted_k = jnp.full(out.z_btk.shape[-1], jnp.nan)
    return Sums(
        kept=kept.sum(dtype=jnp.float32),
        scored=scored.sum(dtype=jnp.float32),
        x_d=x_btd.sum(axis=(0, 1)),
        xx=jnp.square(x_btd).sum(),
        error=jnp.square(error_btd).sum(),
        fired_k=(out.z_btk != 0).sum(axis=(0, 1), dtype=jnp.float32),
        z_k=total(out.z_btk),
        zz_k=total(jnp.square(out.z_btk)),
        eps_k=total(jnp.square(out.eps_btk)),
        unpredicted_k=unpredicted_k,
    )


def figures(sums: Sums) -> dict[str, jax.Array]:
    """Shares and counts from sums.

    `fvu`: squared reconstruction error over the squared deviation of x from its mean.
    `l0`: latents that fire a token. `silent`: share of latents that never fired.
    `r2_past`: 1 - squared error over squared deviation of z from its mean, predicted from the past alone,
    (I - M)^{-1} (sum_l B_l z_{t-l} + c). `r2_past_present`: the same with M z_t known, 1 - sum eps^2 / deviation. Both
    are pooled, so that concepts of large variance count most; 0 where nothing was scored or nothing varies. A
    dictionary alone predicts zero, which is at most as good as the mean: its R^2 are 0 or less.
    """
    tokens = jnp.maximum(sums.kept, 1)
    deviation_x = sums.xx - jnp.square(sums.x_d).sum() / tokens
    deviation_z = (sums.zz_k - jnp.square(sums.z_k) / jnp.maximum(sums.scored, 1)).sum()

    def share(part: jax.Array, whole: jax.Array) -> jax.Array:
        return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 1)

    return {
        "fvu": share(sums.error, deviation_x),
        "l0": sums.fired_k.sum() / tokens,
        "silent": (sums.fired_k == 0).mean(),
        "r2_past": 1 - share(sums.unpredicted_k.sum(), deviation_z),
        "r2_past_present": 1 - share(sums.eps_k.sum(), deviation_z),
    }


def zeros(matrix: Array | None) -> jax.Array:
    """Share of entries that are exactly zero; 1 where there is no matrix."""
    return jnp.ones(()) if matrix is None else (jnp.asarray(matrix) == 0).mean()
