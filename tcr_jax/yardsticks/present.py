"""Effects within a token, beyond what its identity says, with standard errors over documents.

    z~ = M z~ + e,    z~ = z - (mean of z over the tokens of its group),    M strictly lower triangular in an order

by least squares with a ridge, each concept on all that come before it. Squared error fits either direction of an edge,
and the order by conditional variance is a convention: what is found is that two concepts of one token say something of
each other that its identity and the other concepts do not, not which of them acts. Concepts that a TopK keeps compete
for places, and directions that are not orthogonal read each other: both are in M too.
"""

import jax.numpy as jnp
import numpy as np

from tcr_jax.closed_form import CodeMoments, fit_moments
from tcr_jax.closed_form.moments import Ends
from tcr_jax.closed_form.order import variance_order
from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.lexical import Groups, current
from tcr_jax.yardsticks.slopes import Slopes, by_fold, jackknife


def present_effects(
    first: CodeTable, second: CodeTable, *, folds: int = 8, within: Groups | None = current, ridge: float = 0.03
) -> tuple[Slopes, Slopes]:
    """M of two halves of the documents, as `Slopes` with l = 1, in the order that the first half has.

    Args:
      first: codes of one half.
      second: of the other.
      folds: groups of documents that standard errors leave out in turn.
      within: the groups of tokens about whose means, in each fold, moments are taken; None: all tokens.
      ridge: penalty of a weight, as a share of its source's variance.

    Raises:
      ValueError: a fold is left without documents.
    """
    first_g1kk, second_g1kk = (by_fold(half, (0,), folds, within)[0] for half in (first, second))
    rank_k = variance_order(jnp.float32(first_g1kk[:, 0].mean(axis=0)))

    def m_1kk(cross_1kk: np.ndarray) -> np.ndarray:
        k = cross_1kk.shape[-1]
        nothing = Ends(np.zeros(0), np.zeros((0, 0, 0), int), np.zeros((0, 0, 0)))
        moments = CodeMoments(1.0, jnp.zeros((1, k)), (jnp.float32(cross_1kk[0]),), nothing)
        found = fit_moments(moments, lags=0, ridge=ridge, parents=None, rank_k=rank_k).m_kk
        return np.zeros((1, k, k)) if found is None else np.asarray(found, np.float64)[None]

    return jackknife(m_1kk, first_g1kk), jackknife(m_1kk, second_g1kk)
