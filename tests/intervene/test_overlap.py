"""Laws of the weights of tokens."""

import numpy as np
import pytest

from tcr_jax.intervene.overlap import overlap


def test_weighted_means_differ_by_the_slope_within_ids() -> None:
    """What least squares within ids finds, on tokens whose ids stand behind the source more and less often."""
    random = np.random.default_rng(0)
    id_n = random.integers(0, 6, 20_000)
    fires_n = random.random(20_000) < np.array([0, 0.02, 0.1, 0.5, 0.9, 1.0])[id_n]
    effect_v = np.array([9, 1, 2, 3, 4, 9.0])
    y_n = 5 * id_n + effect_v[id_n] * fires_n
    weight_n = overlap(fires_n, id_n)
    difference = np.subtract(*(np.average(y_n[at_n], weights=weight_n[at_n]) for at_n in (fires_n, ~fires_n)))
    share_v = np.array([fires_n[id_n == v].mean() for v in range(6)])
    of_y, of_fires = y_n - np.array([y_n[id_n == v].mean() for v in range(6)])[id_n], fires_n - share_v[id_n]
    assert difference == pytest.approx(of_fires @ of_y / (of_fires @ of_fires), rel=1e-2)
    assert abs(y_n[fires_n].mean() - y_n[~fires_n].mean() - difference) > 1  # unweighted


def test_every_token_may_be_drawn() -> None:
    """Also where an id was seen once, or never stands behind the source."""
    fires_n, id_n = np.array([True, False, False, True, False]), np.array([7, 7, 8, 9, 9])
    weight_n = overlap(fires_n, id_n)
    rate = 3 / 7
    np.testing.assert_allclose(weight_n, [(2 - rate) / 3, (1 + rate) / 3, rate / 2, (2 - rate) / 3, (1 + rate) / 3])
    assert overlap(np.zeros(3, bool), np.arange(3)).min() > 0
