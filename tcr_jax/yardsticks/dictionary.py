"""The dictionary on held-out documents: what it loses and how sparse it is, pooled and by domain, in one pass."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.dictionary import decode, encode
from tcr_jax.params import Dictionary
from tcr_jax.store import Batch
from tcr_jax.typing import DROPPED, Array


class Sums(NamedTuple):
    """Sums over kept tokens, a row for each domain `g`; x in units of the dictionary's normalisation."""

    tokens_g: Any
    x_gd: Any  # of x
    xx_g: Any  # of ||x||^2
    error_g: Any  # of ||x - x^||^2
    fired_gk: Any  # of z != 0
    z_gk: Any
    zz_gk: Any


def measure_dictionary(
    dictionary: Dictionary, batches: Iterable[Batch], domain_n: Array | np.ndarray, domains: Sequence[str]
) -> dict[str, float]:
    """The figures of a dictionary, pooled and by domain.

    `fvu`: sum ||x - x^||^2 / sum ||x - mean||^2, the mean that of the same tokens. `l0`: latents that fire a token.
    `dead`: share of latents that fire at none of these tokens. `code_variance`: sum_k var(z_k) / sum_d var(x_d), to
    tell a code that is easier to predict because it is smaller. `tokens`: how many were measured.

    Args:
      dictionary: as trained.
      batches: held-out tokens; positions of other splits dropped.
      domain_n: for each document of the store, the number of its domain; negative: counted in the pooled figures only.
      domains: names, by number.

    Returns:
      Each figure under its name, and under `DOMAIN/name` for each domain that has tokens.

    Raises:
      ValueError: there is no token, or a document or a domain has no number or name.
    """
    domain_n = np.asarray(domain_n)
    if domain_n.size and domain_n.max() >= len(domains):
        raise ValueError(f"domain_n has domain {domain_n.max()}, but only {len(domains)} have names; name them all")
    total: Sums | None = None
    for batch in batches:
        document_bt = np.asarray(batch.document_bt)
        if document_bt.max(initial=DROPPED) >= len(domain_n):
            raise ValueError(
                f"document {document_bt.max()} has no domain: domain_n has {len(domain_n)} entries; give one a document"
            )
        # the last row of the sums takes what belongs to no domain
        domain_bt = np.append(np.where(domain_n < 0, len(domains), domain_n), DROPPED)[np.maximum(document_bt, DROPPED)]
        sums = _sums(dictionary, batch.x_btd, domain_bt, len(domains) + 1)
        exact = Sums(*(np.asarray(values, np.float64) for values in sums))
        total = exact if total is None else Sums(*map(np.add, total, exact))
    if total is None or not total.tokens_g.any():
        raise ValueError("no token to measure; give batches of a split that holds documents")
    values = _figures(Sums(*(sums.sum(axis=0) for sums in total)))
    for number, name in enumerate(domains):
        if total.tokens_g[number]:
            own = _figures(Sums(*(sums[number] for sums in total)))
            values |= {f"{name}/{figure}": value for figure, value in own.items()}
    return values


@partial(jax.jit, static_argnames="count")
def _sums(dictionary: Dictionary, x_btd: Array, domain_bt: Array, count: int) -> Sums:
    """The sums of one batch; `domain_bt` is negative where dropped."""
    kept_bt1 = (domain_bt >= 0)[..., None]
    x_btd = jnp.where(kept_bt1, jnp.asarray(x_btd, jnp.float32), dictionary.mean_d)
    z_btk = encode(dictionary, x_btd)
    error_btd = (x_btd - decode(dictionary, z_btk)) / dictionary.scale
    x_btd = (x_btd - dictionary.mean_d) / dictionary.scale
    member_btg = jax.nn.one_hot(domain_bt, count)

    def total(values_bt: jax.Array) -> jax.Array:
        return jnp.einsum("btg,bt...->g...", member_btg, values_bt, precision="highest")

    return Sums(
        tokens_g=member_btg.sum((0, 1)),
        x_gd=total(x_btd),
        xx_g=total(jnp.square(x_btd).sum(-1)),
        error_g=total(jnp.square(error_btd).sum(-1)),
        fired_gk=total((z_btk != 0).astype(jnp.float32)),
        z_gk=total(z_btk),
        zz_gk=total(jnp.square(z_btk)),
    )


def _figures(sums: Sums) -> dict[str, float]:
    """Figures from the sums of one set of tokens."""
    tokens = sums.tokens_g
    deviation_x = sums.xx_g - np.square(sums.x_gd).sum() / tokens
    deviation_z = (sums.zz_gk - np.square(sums.z_gk) / tokens).sum()
    figures = {
        "fvu": sums.error_g / deviation_x,
        "l0": sums.fired_gk.sum() / tokens,
        "dead": (sums.fired_gk == 0).mean(),
        "code_variance": deviation_z / deviation_x,
        "tokens": tokens,
    }
    return {name: float(value) for name, value in figures.items()}
