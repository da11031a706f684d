"""Laws of propensities and of the weights that they give tokens."""

import numpy as np
import pytest

from tcr_jax import Params, encode
from tcr_jax.intervene.overlap import Propensity, overlap, propensities
from tcr_jax.store import Batch
from tests.intervene.conftest import alike


def test_weighted_means_differ_by_the_slope_within_ids() -> None:
    """What least squares within ids finds, on tokens whose ids stand behind the source more and less often."""
    random = np.random.default_rng(0)
    id_n = random.integers(0, 6, 20_000)
    fires_n = random.random(20_000) < np.array([0, 0.02, 0.1, 0.5, 0.9, 1.0])[id_n]
    effect_v = np.array([9, 1, 2, 3, 4, 9.0])
    y_n = 5 * id_n + effect_v[id_n] * fires_n
    weight_n = overlap(fires_n, Propensity(np.bincount(id_n, fires_n), np.bincount(id_n))(id_n))
    difference = np.subtract(*(np.average(y_n[at_n], weights=weight_n[at_n]) for at_n in (fires_n, ~fires_n)))
    share_v = np.array([fires_n[id_n == v].mean() for v in range(6)])
    of_y, of_fires = y_n - np.array([y_n[id_n == v].mean() for v in range(6)])[id_n], fires_n - share_v[id_n]
    assert difference == pytest.approx(of_fires @ of_y / (of_fires @ of_fires), rel=1e-2)
    assert abs(y_n[fires_n].mean() - y_n[~fires_n].mean() - difference) > 1  # unweighted


def test_propensities_are_counts(params: Params, batches: list[Batch]) -> None:
    """By a loop over tokens: the earlier one in the same document, both kept."""
    asked = [(5, 1), (5, 2), (9, 2)]
    found = propensities(params.dictionary, batches, asked)
    assert list(found) == asked
    for source, lag in asked:
        fires, count = np.zeros(300), np.zeros(300)
        for batch in batches:
            z_bt = np.asarray(encode(params.dictionary, batch.x_btd))[..., source]
            for row, document_t in enumerate(np.asarray(batch.document_bt)):
                for t in range(lag, len(document_t)):
                    if document_t[t] >= 0 and document_t[t] == document_t[t - lag]:
                        count[batch.token_bt[row, t]] += 1
                        fires[batch.token_bt[row, t]] += z_bt[row, t - lag] != 0
        assert 0 < fires.sum() < count.sum()
        share = (fires.sum() + 1) / (count.sum() + 2)
        np.testing.assert_allclose(found[source, lag](np.arange(300)), (fires + share) / (count + 1))
        assert found[source, lag](np.array([10**6])) == pytest.approx(share)  # an id that was never seen


def test_every_token_may_be_drawn() -> None:
    """Also those of ids that never stand behind the source, or always do; where nothing is known all weigh the same."""
    propensity_n = Propensity(np.array([0.0, 5.0]), np.array([5.0, 5.0]))(np.array([0, 1]))
    assert 0 < propensity_n[0] < 0.1 and 0.9 < propensity_n[1] < 1
    (nothing,) = alike((3, 1)).values()
    assert set(overlap(np.array([True, False]), nothing(np.array([4, 7])))) == {0.5}
