"""What sampling explains is not taken for a misfit."""

import numpy as np
import pytest

from tcr_jax.identify import identify
from tcr_jax.identify.relate import FITS, _largest_spread


@pytest.mark.parametrize("seed", range(5))
def test_few_effects_may_vary_by_chance(seed: int) -> None:
    """One concept, AR(1) with a second lag that is zero: one number says nothing of the spread; nor is M in doubt."""
    rng = np.random.default_rng(seed)
    x_btd = rng.laplace(size=(20, 200, 1))
    for t in range(1, 200):
        x_btd[:, t] += 0.5 * x_btd[:, t - 1]
    found = identify(x_btd, lags=2)
    assert found.misfit == 1 and [effect.in_doubt for effect in found.effects()] == [False]


def test_of_many_effects_a_tenth_more_than_sampling_explains_is_much() -> None:
    """1.1 from some 500 on; of 5 even twice as much may be chance, of none nothing is said."""
    assert [_largest_spread(n) for n in (0, 1000, 10**7)] == [FITS] * 3
    assert _largest_spread(500) < 1.11 and 1.9 < _largest_spread(5) < 2.1
