"""Means over parts are means over all, and what is made of a part is no larger than that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from tcr_jax.identify import parts as module
from tcr_jax.identify.fixed_point import iterate_together
from tcr_jax.identify.ica import _square_correlation
from tcr_jax.identify.parts import average, most_parts, multiplied
from tcr_jax.identify.quadricovariance import leading_rotation

R_NK = jnp.asarray(np.random.default_rng(0).normal(size=(96, 5)), jnp.float32)


@pytest.mark.parametrize("tokens", [96, 95, 90])
def test_the_mean_over_parts_is_the_mean(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    """32 parts, or 1 or 2 where no more divide the tokens; of a tree of means of any shape."""
    monkeypatch.setattr(module, "NUMBERS", 15)
    residual_nk = R_NK[:tokens]
    sizes = []

    def means(part_nk: jax.Array) -> tuple[jax.Array, jax.Array]:
        sizes.append(len(part_nk))
        return part_nk.mean(), part_nk.T @ part_nk / len(part_nk)

    mean, product_kk = average(means, residual_nk)
    assert set(sizes) == {{96: 3, 95: 95, 90: 45}[tokens]}
    np.testing.assert_allclose(mean, residual_nk.mean(), rtol=1e-5)
    np.testing.assert_allclose(product_kk, residual_nk.T @ residual_nk / tokens, rtol=1e-4, atol=1e-5)


def test_a_product_takes_its_array_s_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows, in order; in the memory of a donated array."""
    monkeypatch.setattr(module, "NUMBERS", 15)
    matrix_kk = jnp.asarray(np.random.default_rng(1).normal(size=(5, 5)), jnp.float32)
    given_nk = R_NK.copy()
    place = given_nk.unsafe_buffer_pointer()
    found_nk = jax.jit(multiplied, donate_argnums=0)(given_nk, matrix_kk)
    np.testing.assert_allclose(found_nk, R_NK @ matrix_kk.T, rtol=1e-5, atol=1e-5)
    assert given_nk.is_deleted() and found_nk.unsafe_buffer_pointer() == place


def test_parts_stay_spread_over_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """No device is sent another's tokens where each part divides over them: the program moves nothing but the means."""
    monkeypatch.setattr(module, "NUMBERS", 8 * 15)
    spread = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P("data"))
    given_nk = jax.device_put(jnp.tile(R_NK, (8, 1)), spread)
    text = jax.jit(lambda r_nk: average(lambda part_nk: part_nk.mean(0), r_nk)).lower(given_nk).compile().as_text()
    assert "all-reduce" in text and "all-gather" not in text and "all-to-all" not in text


def test_parts_are_as_many_as_leave_each_its_numbers() -> None:
    """A power of two, and one at least."""
    assert [most_parts(2**19, 1024), most_parts(3 * 2**18, 1024), most_parts(100, 4)] == [128, 128, 1]


def test_what_ica_makes_of_residuals_is_small_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the residuals and what is returned, a compiled step holds no more than an eighth of them."""
    monkeypatch.setattr(module, "NUMBERS", 2**14)
    tokens, k = 2**15, 24
    residual_nk, square_kk = (jax.ShapeDtypeStruct((size, k), jnp.float32) for size in (tokens, k))
    for lowered in (
        iterate_together.lower(square_kk, residual_nk),
        leading_rotation.lower(residual_nk, jax.random.key(0)),
        _square_correlation.lower(square_kk, residual_nk),
    ):
        analysis = lowered.compile().memory_analysis()
        assert analysis is not None and analysis.temp_size_in_bytes < tokens * k * 4 / 8
