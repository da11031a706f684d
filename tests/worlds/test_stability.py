"""How fast sparse processes grow."""

import numpy as np
import pytest
import scipy.sparse as sp

from tcr_jax.worlds import WorldConfig, make_world
from tcr_jax.worlds.stability import spectral_radius


@pytest.mark.parametrize(
    ("lags", "radius", "parents"), [(1, 0.5, 4.0), (2, 0.9, 4.0), (5, 0.6, 4.0), (2, 0.9, 0.5), (2, 0.9, 0.0)]
)
def test_worlds_grow_as_their_companion_matrix_says_and_no_faster_than_they_may(
    lags: int, radius: float, parents: float
) -> None:
    """The estimate agrees with all eigenvalues; B is scaled only where the process would grow faster."""
    world = make_world(WorldConfig(latents=24, lags=lags, radius=radius, parents=parents))
    inverse_kk = np.linalg.inv(np.eye(24) - world.m.toarray())
    companion = np.eye(24 * lags, k=-24)
    companion[:24] = np.hstack([inverse_kk @ b_kk.toarray() for b_kk in world.b])
    exact = np.abs(np.linalg.eigvals(companion)).max()
    np.testing.assert_allclose(spectral_radius(world.b, world.m), exact, rtol=3e-3, atol=1e-2 if parents < 4 else 0)
    if parents == 4:
        np.testing.assert_allclose(exact, radius, rtol=3e-3)
    else:
        assert exact < radius
        assert all(np.abs(b_kk.data).min(initial=0.2) >= 0.2 for b_kk in world.b)


def test_a_process_that_ends_does_not_grow() -> None:
    """Effects that lead nowhere die out: the radius is exactly zero."""
    b_kk = sp.csr_array(np.eye(3, k=-1))
    assert spectral_radius([b_kk], sp.csr_array((3, 3))) == 0
