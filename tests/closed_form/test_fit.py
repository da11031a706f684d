"""The closed form: least squares on actual windows, the true parents found, ordinary parameters out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tcr_jax
from tcr_jax.closed_form import code_moments, fit_moments, fit_process, fit_support
from tcr_jax.closed_form.fit import present_order
from tcr_jax.closed_form.moments import CodeMoments
from tcr_jax.params import Process, linear_dictionary
from tcr_jax.store import Batch

K, LAGS, TOKENS = 12, 2, 40


def known() -> Process:
    """Each concept with two delayed parents, every third with one within the token, against the numbering."""
    rng = np.random.default_rng(3)
    b_lkk, m_kk = np.zeros((LAGS, K, K), np.float32), np.zeros((K, K), np.float32)
    for i in range(K):
        for j in rng.choice(K, 2, replace=False):
            b_lkk[rng.integers(LAGS), i, j] = rng.choice([-0.45, 0.45])
    for i in range(0, K - 1, 3):
        m_kk[i, i + 1] = 0.6
    return Process(jnp.asarray(b_lkk), jnp.asarray(m_kk), jnp.linspace(-0.2, 0.2, K))


@functools.cache
def codes(sequences: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Short documents, two in each sequence."""
    eps_btk = jax.random.laplace(jax.random.key(0), (sequences, TOKENS, K))
    halves = [jax.vmap(tcr_jax.simulate, (None, 0))(known(), part) for part in jnp.split(eps_btk, 2, axis=1)]
    document_bt = np.repeat(np.arange(2 * sequences).reshape(sequences, 2), TOKENS // 2, axis=1)
    return np.asarray(jnp.concatenate(halves, axis=1)), document_bt


@functools.cache
def windows() -> tuple[np.ndarray, np.ndarray]:
    """z_t, and [1, z_{t-1}, .., z_{t-l}], of every token with full history."""
    z_btk, _ = codes()
    pieces = z_btk.astype(np.float64).reshape(-1, TOKENS // 2, K)
    past = [pieces[:, LAGS - lag : TOKENS // 2 - lag] for lag in range(LAGS + 1)]
    now_nk, *earlier = (part.reshape(-1, K) for part in past)
    return now_nk, np.concatenate([np.ones((len(now_nk), 1)), *earlier], axis=1)


@pytest.fixture(scope="module")
def moments() -> CodeMoments:
    return code_moments([codes()], LAGS, K)


RANK_K = np.arange(K)[::-1].copy()
"""An order in which the known process is acyclic."""


def test_dense_fit_is_least_squares(moments: CodeMoments) -> None:
    """Without ridge and without M: B and the intercept of numpy's least squares on the windows themselves."""
    now_nk, past_nf = windows()
    wanted_fk = np.linalg.lstsq(past_nf, now_nk, rcond=None)[0]
    process = fit_moments(moments, ridge=0.0, parents=None)
    assert process.m_kk is None and process.b_lkk is not None
    np.testing.assert_allclose(process.intercept_k, wanted_fk[0], atol=1e-4)
    np.testing.assert_allclose(process.b_lkk.transpose(1, 0, 2).reshape(K, -1), wanted_fk[1:].T, atol=1e-4)


def test_cholesky_gives_b_and_m_together(moments: CodeMoments) -> None:
    """In a given order, each concept's weights are least squares on the past and the concepts before it."""
    now_nk, past_nf = windows()
    process = fit_moments(moments, ridge=0.0, parents=None, rank_k=RANK_K)
    assert process.m_kk is not None and process.b_lkk is not None
    for i in (0, 5, K - 1):
        earlier = np.flatnonzero(RANK_K[i] > RANK_K)
        weight_f = np.linalg.lstsq(np.hstack([past_nf, now_nk[:, earlier]]), now_nk[:, i], rcond=None)[0]
        np.testing.assert_allclose(process.b_lkk[:, i].reshape(-1), weight_f[1 : 1 + LAGS * K], atol=1e-4)
        np.testing.assert_allclose(process.m_kk[i, earlier], weight_f[1 + LAGS * K :], atol=1e-4)
        assert not np.delete(np.asarray(process.m_kk[i]), earlier).any()


def test_sparse_fit_finds_the_true_parents(moments: CodeMoments) -> None:
    """As many parents as there are, in an order that fits: exactly the known edges, and their weights."""
    truth = known()
    count_k = (truth.b_lkk != 0).sum((0, 2)) + (truth.m_kk != 0).sum(1)
    process = fit_moments(moments, ridge=0.0, parents=int(count_k.max()), rank_k=RANK_K)
    for found, wanted in ((process.b_lkk, truth.b_lkk), (process.m_kk, truth.m_kk)):
        np.testing.assert_allclose(found, wanted, atol=0.05)
        np.testing.assert_array_equal(np.abs(found) > 0.1, wanted != 0)
    assert int((process.b_lkk != 0).sum((0, 2)).max()) <= count_k.max()
    np.testing.assert_allclose(process.intercept_k, truth.intercept_k, atol=0.05)


def test_all_parents_are_the_dense_fit(moments: CodeMoments) -> None:
    """Forward selection that may take every source ends with the dense weights, ridge and all."""
    sparse = fit_moments(moments, ridge=0.01, parents=LAGS * K)
    dense = fit_moments(moments, ridge=0.01, parents=None)
    np.testing.assert_allclose(sparse.b_lkk, dense.b_lkk, atol=2e-3)


def test_support_is_kept(moments: CodeMoments) -> None:
    """A concept's own past alone: diagonal B, each weight by its own small regression."""
    own_kp = np.arange(K)[:, None] + K * np.arange(1, LAGS + 1)
    process = fit_support(moments, own_kp, ridge=0.0)
    now_nk, past_nf = windows()
    weight_f = np.linalg.lstsq(past_nf[:, [0, 1 + 4, 1 + K + 4]], now_nk[:, 4], rcond=None)[0]
    np.testing.assert_allclose(process.b_lkk[:, 4, 4], weight_f[1:], atol=1e-4)
    assert not (np.asarray(process.b_lkk) * (1 - np.eye(K))).any()


def test_fewer_lags_than_collected(moments: CodeMoments) -> None:
    """B has the lags asked for; none leaves M alone; more than there are is an error that says so."""
    assert fit_moments(moments, lags=1, parents=3).b_lkk.shape == (1, K, K)
    process = fit_moments(moments, lags=0, parents=3, rank_k=RANK_K)
    assert process.b_lkk is None and process.m_kk is not None
    with pytest.raises(ValueError, match=r"lags=3: the moments hold 0 to 2"):
        fit_moments(moments, lags=3)


def test_one_call_from_activations() -> None:
    """From batches to a process whose M is acyclic, and whose innovations are smaller than the codes' deviations."""
    z_btk, document_bt = codes()
    dictionary = linear_dictionary(np.eye(K), np.eye(K), np.zeros(K))
    process = fit_process(dictionary, [Batch(z_btk, np.zeros_like(document_bt), document_bt)], lags=LAGS, parents=4)
    assert tcr_jax.is_acyclic(process.m_kk)
    assert int((process.b_lkk != 0).sum((0, 2)).max() + 0) <= 4
    eps_btk = jax.vmap(tcr_jax.innovations, (None, 0, 0))(process, z_btk, document_bt)
    scored_bt = jax.vmap(tcr_jax.history, (0, None))(document_bt, LAGS)
    assert float(jnp.var(eps_btk[scored_bt])) < 0.75 * float(np.var(z_btk))


def test_order_by_conditional_variance(moments: CodeMoments) -> None:
    """Causes come before their effects where innovations are alike in scale."""
    rank_k = np.asarray(present_order(moments))
    assert sorted(rank_k) == list(range(K))
    assert all(rank_k[i + 1] < rank_k[i] for i in range(0, K - 1, 3))
