"""Score functions: fitted to each distribution, with the properties that Newton's method relies on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax.identify.density import RIDGE, Scores, basis, fit_scores, score

N = 20_000


def unit(values_n: np.ndarray) -> np.ndarray:
    return (values_n - values_n.mean()) / values_n.std()


RNG = np.random.default_rng(0)
GAUSSIAN, LAPLACE, UNIFORM = (unit(draw(size=N)) for draw in (RNG.normal, RNG.laplace, RNG.uniform))
Y_NK = jnp.float32(np.stack([GAUSSIAN, LAPLACE, UNIFORM], axis=1))
SCORES = fit_scores(Y_NK)


def test_a_gaussians_score_is_its_value() -> None:
    """phi(y) = y, whose information is 1."""
    value_nk, slope_nk = score(SCORES, basis(Y_NK))
    assert np.mean((np.asarray(value_nk[:, 0]) - GAUSSIAN) ** 2) < 0.01
    assert float(slope_nk[:, 0].mean()) == pytest.approx(1, abs=0.03)


def test_laplaces_score_is_the_sign() -> None:
    """phi(y) = sqrt(2) sign(y), whose information is 2: the fit explains most of it."""
    value_nk, slope_nk = score(SCORES, basis(Y_NK))
    missed_n = np.asarray(value_nk[:, 1]) - np.sqrt(2) * np.sign(LAPLACE)
    assert np.mean(missed_n**2) < 0.1 * 2
    assert 1.8 < float(slope_nk[:, 1].mean()) < 2.05


def test_moments_that_newtons_method_relies_on() -> None:
    """E[phi(y) y] = 1, and E[phi^2] = E[phi'] but for the ridge, on the data fitted to, whatever the distribution."""
    value_nk, slope_nk = score(SCORES, basis(Y_NK))
    np.testing.assert_allclose((value_nk * Y_NK).mean(axis=0), 1, atol=2e-3)
    ridge_k = RIDGE * jnp.square(SCORES.weight_mk).sum(axis=0)
    np.testing.assert_allclose(jnp.square(value_nk).mean(axis=0) + ridge_k, slope_nk.mean(axis=0), rtol=2e-3)


def test_no_other_score_of_the_basis_fits_better() -> None:
    """E[phi^2] - 2 E[phi'] grows in every direction from the fit."""

    def loss(weight_mk: jax.Array) -> jax.Array:
        value_nk, slope_nk = score(Scores(weight_mk), basis(Y_NK))
        return (jnp.square(value_nk) - 2 * slope_nk).mean(axis=0)

    best_k = loss(SCORES.weight_mk)
    for m in range(len(SCORES.weight_mk)):
        for change in (-0.05, 0.05):
            assert (loss(SCORES.weight_mk.at[m].add(change)) >= best_k - 1e-4).all()


def test_slopes_are_derivatives() -> None:
    """h' of every function of the basis."""
    y_n = jnp.linspace(-4, 4, 101)
    for m, (_, slope_n) in enumerate(basis(y_n)):
        derivative_n = jax.vmap(jax.grad(lambda y, m=m: basis(y)[m][0]))(y_n)
        np.testing.assert_allclose(slope_n, derivative_n, atol=1e-5)
