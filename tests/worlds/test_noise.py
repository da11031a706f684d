"""Families of innovations."""

import math
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats

from tcr_jax.worlds import WorldConfig
from tcr_jax.worlds.noise import draw_noise

FAMILIES: dict[str, tuple[dict[str, Any], Any]] = {
    "laplace": ({}, scipy.stats.laplace()),
    "generalised 1.8": ({"noise": "generalised", "exponent": 1.8}, scipy.stats.gennorm(1.8)),
    "generalised 0.7": ({"noise": "generalised", "exponent": 0.7}, scipy.stats.gennorm(0.7)),
    "student": ({"noise": "student", "degrees": 3.0}, scipy.stats.t(3)),
    "gaussian": ({"noise": "gaussian"}, scipy.stats.norm()),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_follow_their_law_at_unit_variance(name: str) -> None:
    """Kolmogorov-Smirnov, over all and over the outermost hundredth."""
    values, law = FAMILIES[name]
    eps = np.asarray(draw_noise(WorldConfig(**values), jax.random.key(0), (200_000,)), float) * law.std()
    assert scipy.stats.kstest(eps, law.cdf).pvalue > 0.01
    cut = law.isf(0.005)
    tail = np.abs(eps[np.abs(eps) > cut])
    np.testing.assert_allclose(len(tail) / len(eps), 0.01, rtol=4 / math.sqrt(2000))
    assert scipy.stats.kstest(tail, lambda size: 1 - law.sf(size) / 0.005).pvalue > 0.01
