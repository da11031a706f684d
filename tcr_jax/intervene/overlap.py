"""Tokens at which a delayed effect can be tested at all: those of ids that stand behind its source, but not always.

The text stays as it is in an intervention, so an edge is what its source adds among tokens of one id. An id that never
stands behind the source says nothing of it, nor does one that always does. With the propensity of an id v,

    p(v) = P(the source fires at t - l | the token at t is v),

least squares within ids weighs v by its tokens and p (1 - p). Tokens at which the source fires are drawn by 1 - p, and
those at which it does not by p: the overlap weights of Li, Morgan and Zaslavsky (2018, JASA 113, 390-400), which make
both the same population, that of the regression. Drawn alike, most additions are to tokens to which the edge does not
refer (experiments/results/interventions.md).
"""

import numpy as np


def overlap(fires_n: np.ndarray, id_n: np.ndarray) -> np.ndarray:
    """Weight of each token: 1 - p where the source fires, p where it does not, both above zero.

    An id's propensity is drawn towards the share of all tokens by the weight of one token.

    Args:
      fires_n: whether the source fires.
      id_n: id of the token `l` later.
    """
    _, at_n, count_v = np.unique(id_n, return_inverse=True, return_counts=True)
    rate = (fires_n.sum() + 1) / (len(fires_n) + 2)
    propensity_n = ((np.bincount(at_n, fires_n) + rate) / (count_v + 1))[at_n]
    return np.where(fires_n, 1 - propensity_n, propensity_n)
