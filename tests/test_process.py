"""The causal process: its equation, its boundaries, its inverse, and its memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Process, explain, history, impulse_response, innovations, predict, simulate, spectral_radius
from tcr_jax.process import reduced_past

K, L, T = 5, 3, 20
RNG = np.random.default_rng(0)


def random_process() -> Process:
    m_kk = np.tril(0.5 * RNG.normal(size=(K, K)), -1)[::-1, ::-1].copy()  # acyclic, but not in index order
    b_lkk = 0.15 * RNG.normal(size=(L, K, K))
    return Process(jnp.float32(b_lkk), jnp.float32(m_kk), jnp.float32(RNG.normal(size=K)))


def random_z() -> np.ndarray:
    return RNG.normal(size=(T, K)).astype(np.float32)


def by_hand(process: Process, z_tk: np.ndarray, document_t: np.ndarray) -> np.ndarray:
    """The prediction, one token and one lag at a time."""
    prediction_tk = np.zeros_like(z_tk) + np.asarray(process.intercept_k)
    for t in range(len(z_tk)):
        prediction_tk[t] += process.m_kk @ z_tk[t]
        for lag in range(1, L + 1):
            if t >= lag and document_t[t] == document_t[t - lag] and document_t[t] >= 0:
                prediction_tk[t] += process.b_lkk[lag - 1] @ z_tk[t - lag]
    return prediction_tk


DOCUMENT_T = np.array([0] * 6 + [-1] * 2 + [1] * 4 + [0] * 3 + [2] * 5)


def test_prediction_is_its_equation() -> None:
    """past + present = sum_l B_l z_{t-l} + c + M z_t, with no lag across documents or from dropped positions."""
    process, z_tk = random_process(), random_z()
    np.testing.assert_allclose(sum(predict(process, z_tk, DOCUMENT_T)), by_hand(process, z_tk, DOCUMENT_T), atol=1e-5)


@pytest.mark.parametrize("changed", [0, 1, 2, -1])
def test_documents_do_not_touch_each_other(changed: int) -> None:
    """Changing one document, or what was dropped, leaves the innovations of all the others bit for bit as they were."""
    process, z_tk = random_process(), random_z()
    here = np.equal(DOCUMENT_T, changed)
    before, after = (
        np.asarray(innovations(process, z, DOCUMENT_T)) for z in (z_tk, np.where(here[:, None], 100 * z_tk, z_tk))
    )
    np.testing.assert_array_equal(before[~here], after[~here])
    assert not np.array_equal(before[here], after[here])


def test_history_is_complete_or_not() -> None:
    """Only tokens with all lags in their own document are scored."""
    complete_t = [
        DOCUMENT_T[t] >= 0 and t >= L and all(DOCUMENT_T[t - lag] == DOCUMENT_T[t] for lag in range(1, L + 1))
        for t in range(T)
    ]
    np.testing.assert_array_equal(history(DOCUMENT_T, L), complete_t)
    assert sum(complete_t) == 6


def test_innovations_undo_simulate() -> None:
    """innovations(simulate(eps)) = eps, and the other way round."""
    process, one = random_process(), np.zeros(T, int)
    eps_tk = random_z()
    z_tk = simulate(process, eps_tk)
    np.testing.assert_allclose(innovations(process, z_tk, one), eps_tk, atol=1e-3)


def test_total_response_is_what_simulation_does() -> None:
    """The total effect of a unit of concept j is the difference that one unit of its innovation makes."""
    process, eps_tk = random_process(), random_z()
    nudged = eps_tk.copy()
    nudged[4, 2] += 1
    difference = simulate(process, nudged) - simulate(process, eps_tk)
    np.testing.assert_allclose(impulse_response(process, 2, 6).total_hk, difference[4:11], atol=1e-3)


def test_direct_response_is_a_column() -> None:
    """The direct effect of j is column j of M at once and of B_h after h tokens, and nothing beyond the last lag."""
    process = random_process()
    direct_hk = impulse_response(process, 2, L + 2).direct_hk
    np.testing.assert_array_equal(direct_hk[0], process.m_kk[:, 2])
    np.testing.assert_array_equal(direct_hk[1 : L + 1], process.b_lkk[:, :, 2])
    assert not direct_hk[L + 1 :].any()


@pytest.mark.parametrize("token", [0, 5, 9, 12, T - 1])
def test_explanations_add_up(token: int) -> None:
    """All contributions and the intercept sum to the prediction, at starts of documents too."""
    process, z_tk = random_process(), random_z()
    parts = explain(process, z_tk, DOCUMENT_T, token, 3)
    total = float(parts.delayed_lk.sum() + parts.instantaneous_k.sum() + parts.intercept)
    assert float(parts.prediction) == pytest.approx(total)
    np.testing.assert_allclose(parts.prediction, by_hand(process, z_tk, DOCUMENT_T)[token, 3], atol=1e-5)


def test_explaining_outside_the_sequence_is_an_error() -> None:
    """JAX would clamp the index silently; we do not."""
    with pytest.raises(IndexError, match=f"concept={K} outside a dictionary of {K} concepts"):
        impulse_response(random_process(), K, 2)
    with pytest.raises(IndexError, match="token=20"):
        explain(random_process(), random_z(), DOCUMENT_T, T, 0)


@pytest.mark.parametrize("missing", ["b_lkk", "m_kk", "intercept_k"])
def test_a_missing_part_counts_as_zero(missing: str) -> None:
    """A process without B, M or c is the process with zeros there."""
    process, z_tk = random_process(), random_z()
    zeroed = process.replace(**{missing: jnp.zeros_like(getattr(process, missing))})
    without = process.replace(**{missing: None})
    np.testing.assert_array_equal(
        innovations(zeroed, z_tk, DOCUMENT_T), innovations(without, z_tk, DOCUMENT_T)
    )
    np.testing.assert_allclose(simulate(zeroed, z_tk), simulate(without, z_tk), atol=1e-5)
    assert float(explain(without, z_tk, DOCUMENT_T, 9, 1).prediction) == pytest.approx(
        float(explain(zeroed, z_tk, DOCUMENT_T, 9, 1).prediction)
    )


def test_an_empty_process_predicts_nothing() -> None:
    """A dictionary alone predicts zero at every token; what needs to know the number of concepts says what is wrong."""
    empty = Process(b_lkk=None, m_kk=None, intercept_k=None)
    z_tk = np.ones((3, 4), np.float32)
    np.testing.assert_array_equal(innovations(empty, z_tk, np.zeros(3, int)), z_tk)
    assert float(spectral_radius(empty)) == 0
    with pytest.raises(ValueError, match="mode=dictionary and has no relations"):
        impulse_response(empty, concept=0, horizon=2)


def test_the_past_alone_predicts_through_m() -> None:
    """(I - M)^{-1} (sum B z + c) leaves the error (I - M)^{-1} eps."""
    process, one = random_process(), np.zeros(T, int)
    z_tk = random_z()
    error_tk = z_tk - reduced_past(process, predict(process, z_tk, one).past_tk)
    np.testing.assert_allclose(
        error_tk @ (np.eye(K) - process.m_kk).T, innovations(process, z_tk, one), atol=1e-4
    )


@pytest.mark.parametrize("eigenvalues", [(0.9, 0.3), (0.6 + 0.6j, 0.6 - 0.6j), (1.1, 0.2)])
def test_spectral_radius_is_the_largest_eigenvalue(eigenvalues: tuple[complex, complex]) -> None:
    """Real, complex and unstable leading eigenvalues."""
    total, product = sum(eigenvalues), np.prod(eigenvalues)
    companion = np.array([[total, -product], [1, 0]]).real
    radius = spectral_radius(Process(jnp.float32(companion)[None], None, None))
    np.testing.assert_allclose(radius, max(abs(np.array(eigenvalues))), rtol=0.02)


def test_memory_does_not_grow_with_the_lags() -> None:
    """Beyond B and its gradient, a step with 16 lags needs no more memory than one with 2: no window is stored."""

    def scratch(lags: int, latents: int = 32, tokens: int = 512) -> int:
        process = Process(jnp.zeros((lags, latents, latents)), None, None)
        z_btk, document_bt = jnp.ones((4, tokens, latents)), jnp.zeros((4, tokens), int)

        def loss(process: Process, z_btk: jax.Array) -> jax.Array:
            return jnp.square(jax.vmap(innovations, in_axes=(None, 0, 0))(process, z_btk, document_bt)).sum()

        compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(process, z_btk).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    one_copy_of_z = 4 * 512 * 32 * 4
    assert scratch(16) - scratch(2) < one_copy_of_z
