"""Tokens at which a delayed effect can be tested at all: those of ids that stand behind its source, but not always.

The text stays as it is in an intervention, so an edge is what its source adds among tokens of one id. An id that never
stands behind the source says nothing of it, nor does one that always does. With the propensity of an id v,

    p(v) = P(the source fires at t - l | the token at t is v),

least squares within ids weighs v by its tokens and p (1 - p). Tokens at which the source fires are drawn by 1 - p, and
those at which it does not by p: the overlap weights of Li, Morgan and Zaslavsky (2018, JASA 113, 390-400), which make
both the same population, that of the regression. Drawn alike, most additions are to tokens to which the edge does not
refer (experiments/results/interventions.md).
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.dictionary import encode
from tcr_jax.params import Dictionary
from tcr_jax.store import Batch

Asked = tuple[int, int]
"""(source, lag): what does the source do so many tokens later?"""


class Propensity(NamedTuple):
    """Of one source and lag, by id of the later token."""

    fires_v: np.ndarray  # tokens of the id behind a firing source
    count_v: np.ndarray  # tokens of the id

    def __call__(self, id_n: np.ndarray) -> np.ndarray:
        """p of each token, drawn towards the share of all tokens by the weight of one; that share for an unseen id."""
        share = (self.fires_v.sum() + 1) / (self.count_v.sum() + 2)
        at_n = np.minimum(id_n, len(self.count_v))
        fires_n, count_n = np.append(self.fires_v, 0)[at_n], np.append(self.count_v, 0)[at_n]
        return (fires_n + share) / (count_n + 1)


def propensities(dictionary: Dictionary, batches: Iterable[Batch], asked: Iterable[Asked]) -> dict[Asked, Propensity]:
    """Counts over the tokens of text, kept ones with the earlier one of the same document kept too.

    Args:
      dictionary: whose concepts the sources are.
      batches: of training documents, as many as can be: many ids are rare.
      asked: sources and lags.
    """
    asked = sorted(asked)
    sources = sorted({source for source, _ in asked})
    fires = dict.fromkeys(asked, np.zeros(0))
    count = dict.fromkeys((lag for _, lag in asked), np.zeros(0))
    for batch in batches:
        fires_bts = np.asarray(_encode(dictionary, jnp.asarray(batch.x_btd)))[..., sources] != 0
        token_bt, document_bt = np.asarray(batch.token_bt), np.asarray(batch.document_bt)
        for lag in count:
            until = token_bt.shape[1] - lag
            both_bt = (document_bt[:, lag:] == document_bt[:, :until]) & (document_bt[:, lag:] >= 0)
            id_n, fires_ns = token_bt[:, lag:][both_bt], fires_bts[:, :until][both_bt]
            count[lag] = _add(count[lag], id_n)
            for source in (source for source, at in asked if at == lag):
                fires[source, lag] = _add(fires[source, lag], id_n, fires_ns[:, sources.index(source)])
    return {(source, lag): Propensity(fires[source, lag], count[lag]) for source, lag in asked}


_encode = jax.jit(encode)


def overlap(fires_n: np.ndarray, propensity_n: np.ndarray) -> np.ndarray:
    """Weight of each token: 1 - p where the source fires, p where it does not."""
    return np.where(fires_n, 1 - propensity_n, propensity_n)


def _add(total_v: np.ndarray, id_n: np.ndarray, amount_n: np.ndarray | None = None) -> np.ndarray:
    """`total_v`, longer if need be, with the amount, or one, more for each id."""
    more_v = np.bincount(id_n, amount_n, minlength=len(total_v)).astype(np.float64)
    more_v[: len(total_v)] += total_v
    return more_v
