"""The mean correlation coefficient (MCC): how well concepts are found, whatever their numbering, sign and units."""

from typing import NamedTuple

import numpy as np

from tcr_jax.scores.correlation import Kind, correlations
from tcr_jax.scores.matching import Matching, match
from tcr_jax.typing import Array


class Mcc(NamedTuple):
    """Figures of |correlation| over all true concepts, 0 for one without a counterpart; 1 is perfect."""

    mean: float
    median: float
    worst: float
    above_99: float  # share of true concepts whose |correlation| is over .99
    matching: Matching


def mcc(true_nk: Array | np.ndarray, found_nk: Array | np.ndarray, kind: Kind = "pearson") -> Mcc:
    """mean_i |c(i, found_i)| under the best one-to-one matching, with the median, the worst and the share over .99.

    A mean close to .85 says little: leaving out instantaneous effects altogether reaches that. Read the worst too.

    Args:
      true_nk: samples of the true concepts.
      found_nk: samples of the found ones at the same tokens.
      kind: of correlation, see `correlations`.

    Raises:
      ValueError: as `correlations` and `match` do.

    >>> import numpy as np
    >>> z_nk = np.random.default_rng(0).normal(size=(100, 3))
    >>> score = mcc(z_nk, -2 * z_nk[:, [2, 0, 1]])
    >>> round(score.mean, 5), score.matching.found_k.tolist()
    (1.0, [1, 2, 0])
    """
    matching = match(correlations(true_nk, found_nk, kind))
    size_k = np.abs(matching.similarity_k)
    return Mcc(
        mean=float(size_k.mean(dtype=np.float64)),
        median=float(np.median(size_k)),
        worst=float(size_k.min()),
        above_99=float((size_k > 0.99).mean()),
        matching=matching,
    )
