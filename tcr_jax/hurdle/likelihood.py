"""What a code costs under a hurdle process, in nats for fitting and in bits for telling."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.hurdle.process import Codes, HurdleProcess, Link, features
from tcr_jax.typing import Array
from tcr_jax.yardsticks.folders import POOLED, check_names

Part = Literal["fires", "sign", "size"]
PARTS: tuple[Part, ...] = ("fires", "sign", "size")


class Bits(NamedTuple):
    """Mean cost of a token, in bits, summed over the predicted concepts. Lower is better; only differences matter.

    That of `size` is a density's, in units of log |z|: it may be negative.
    """

    tokens: int
    fires: float
    sign: float
    size: float

    @property
    def strength(self) -> float:
        """How strongly, given which concepts fire: sign and size."""
        return self.sign + self.size


def nats(part: Part, process: HurdleProcess, eta_ni: Array, z_ni: Array) -> jax.Array:
    """-log likelihood of one part of the code, for every token and predicted concept.

    Args:
      eta_ni: the link's prediction.
      z_ni: what was seen, of the predicted concepts. Sign and size cost nothing where it is zero.
    """
    if part == "fires":
        return jax.nn.softplus(eta_ni) - eta_ni * (z_ni != 0)
    if part == "sign":
        return jnp.where(z_ni != 0, jax.nn.softplus(eta_ni) - eta_ni * (z_ni > 0), 0)
    unit_i = process.unit_k[process.target_i]
    log_ni = jnp.log(jnp.abs(jnp.where(z_ni != 0, z_ni, unit_i)) / unit_i)
    normal_ni = ((log_ni - eta_ni) / process.spread_i) ** 2 / 2 + jnp.log(process.spread_i) + jnp.log(2 * jnp.pi) / 2
    return jnp.where(z_ni != 0, normal_ni, 0)


def bits(
    process: HurdleProcess,
    batches: Iterable[Codes],
    *,
    lags: int | None = None,
    domains: Mapping[int, str] | None = None,
) -> dict[str, Bits]:
    """Bits a token on held-out codes, over tokens that have `lags` earlier ones in their own document.

    Args:
      process: the model.
      batches: codes of documents that it did not see.
      lags: history that a token must have to count; the process's lags by default. Give the longest of several
        processes to compare them on the same tokens.
      domains: of documents, by number, for figures of each; documents that it lacks count under "all" alone.

    Returns:
      `Bits` under "all" and under each domain's name.

    Raises:
      ValueError: `lags` is less than the process's, no token counts, or a domain is called "all".
    """
    lags = process.lags if lags is None else lags
    if lags < process.lags:
        raise ValueError(f"lags={lags} is less than the {process.lags} that the process looks back; raise it")
    pool = Pool(domains)
    for z_btk, document_bt in batches:
        parts_pn, scored_n = _token_nats(process, z_btk, document_bt, lags)
        document_n = np.asarray(document_bt)[:, lags:].reshape(-1)
        pool.add(np.asarray(parts_pn)[:, np.asarray(scored_n)], document_n[np.asarray(scored_n)])
    return pool.bits(f"no token has {lags} kept tokens before it in its own document: give longer documents")


class Pool:
    """Sums nats over all tokens and over each domain's."""

    def __init__(self, domains: Mapping[int, str] | None) -> None:
        self._domains = {} if domains is None else domains
        check_names(self._domains)
        self._sums: dict[str, np.ndarray] = {}

    def add(self, parts_pn: np.ndarray, document_n: np.ndarray) -> None:
        """[fires, sign, size] of tokens, and the document of each."""
        rows_pn = np.concatenate([np.ones((1, len(document_n))), parts_pn])
        names_n = np.array([self._domains.get(document, POOLED) for document in document_n.tolist()])
        for name in {POOLED, *names_n.tolist()} if len(document_n) else ():
            part_pn = rows_pn if name == POOLED else rows_pn[:, names_n == name]
            self._sums[name] = self._sums.get(name, 0) + part_pn.sum(axis=1, dtype=np.float64)

    def bits(self, nothing: str) -> dict[str, Bits]:
        """Means a token. Raises `ValueError` saying `nothing` where there was none."""
        if not self._sums:
            raise ValueError(nothing)
        return {
            n: Bits(int(tokens), *(parts / tokens / np.log(2)).tolist()) for n, (tokens, *parts) in self._sums.items()
        }


@partial(jax.jit, static_argnames="lags")
def _token_nats(process: HurdleProcess, z_btk: Array, document_bt: Array, lags: int) -> tuple[jax.Array, jax.Array]:
    """[fires, sign, size] of every token, and which tokens count."""
    feature_nf, scored_n = features(process, z_btk, document_bt, lags)
    z_ni = targets_of(process, z_btk, lags)
    links: dict[Part, Link] = {part: getattr(process, part) for part in PARTS}
    parts = [nats(part, process, link.predict(feature_nf), z_ni).sum(axis=1) for part, link in links.items()]
    return jnp.stack(parts), scored_n


def targets_of(process: HurdleProcess, z_btk: Array, lags: int) -> jax.Array:
    """z_ni of the predicted concepts, at the tokens of `features`."""
    z_bti = jnp.asarray(z_btk, jnp.float32)[:, lags:, process.target_i]
    return z_bti.reshape(-1, z_bti.shape[-1])
