"""Which positions of a chunk are kept."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Keep:
    """Position t of a chunk is kept where t >= first and |x_t| <= outlier * median |x_s| over s >= first.

    Models park attention on the first positions, whose norm may be a hundred times the others'; a few later positions
    may do the same. One such position outweighs all others in every second moment.
    """

    first: int = 4  # positions dropped at the beginning of every chunk
    outlier: float = 3.0  # multiple of the chunk's median norm beyond which a position is dropped

    def __call__(self, norm_t: np.ndarray) -> np.ndarray:
        """Mask of the positions kept, given the norms of a chunk's activations. bool [t]."""
        late_t = np.arange(len(norm_t)) >= self.first
        if not late_t.any():
            return late_t
        return late_t & (norm_t <= self.outlier * np.median(norm_t[late_t]))

    def __str__(self) -> str:
        return (
            f"dropped: the first {self.first} positions of every chunk; "
            f"norms over {self.outlier:g} times the median of the chunk's other positions"
        )
