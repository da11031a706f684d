"""How large an effect must be, in standard errors, to be believed: a bound on the share of false ones."""

import numpy as np
from scipy.special import ndtri

FALSE_SHARE = 0.005
"""Of the effects found, at most this share is expected to be none."""


def discovery_threshold(standardised: np.ndarray, share: float = FALSE_SHARE) -> float:
    """The lowest threshold on |estimate / standard error| at which the expected share of false effects is `share`.

    Source: Benjamini and Hochberg 1995, "Controlling the false discovery rate".

    >>> import numpy as np
    >>> round(discovery_threshold(np.array([0.1, -0.5, 1.0, 30.0])), 2)   # one of four: p <= 0.005 * 1 / 4
    3.23
    """
    size = np.sort(np.abs(standardised).ravel())[::-1]
    rank = np.arange(1, len(size) + 1)
    limit = -ndtri(share * rank / len(size) / 2)  # two-sided
    passing = np.flatnonzero(size >= limit)
    return float(limit[passing[-1] if len(passing) else 0])
