"""Which positions of a context are kept: the one rule of extraction and import."""

import dataclasses
import math

import numpy as np

from tcr_jax.store.records import Context
from tcr_jax.typing import DROPPED


@dataclasses.dataclass(frozen=True)
class Keep:
    """Position t of a run is kept where t >= skip_first and |x_t| <= outlier_norm * median |x_s| over s >= skip_first.

    A run is the consecutive positions of one document in a context. Models park attention on the first positions that
    they see, whose norm may be a hundred times the others'; a few later positions may do the same. One such position
    outweighs all others in every second moment.
    """

    skip_first: int = 4  # positions dropped at the beginning of every run
    outlier_norm: float = 3.0  # multiple of the run's median norm over which a position is dropped; inf: none

    def __call__(self, context: Context) -> Context:
        """The context with what the rule drops no longer kept. Positions that were not kept do not count."""
        kept_t = context.kept_t & (context.document_t != DROPPED)
        norm_t = np.linalg.norm(context.activations_td.astype(np.float32), axis=-1)
        for run in np.split(np.arange(len(kept_t)), 1 + np.flatnonzero(np.diff(context.document_t))):
            kept_t[run[: self.skip_first]] = False
            rest = run[kept_t[run]]
            if len(rest) and math.isfinite(self.outlier_norm):
                kept_t[rest] = norm_t[rest] <= self.outlier_norm * np.median(norm_t[rest])
        return context._replace(kept_t=kept_t)

    def __str__(self) -> str:
        early = f"the first {self.skip_first} positions of every document in every context"
        if math.isinf(self.outlier_norm):
            return f"dropped: {early}"
        return f"dropped: {early}; norms over {self.outlier_norm:g} times the median of its other positions there"
