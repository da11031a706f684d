"""Moments of codes: the Gram matrix of actual lagged windows, from its first row and the ends of runs alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import tcr_jax
from tcr_jax.closed_form.gram import gram, lag_table, support_gram
from tcr_jax.closed_form.moments import CodeMoments, code_moments, collect_moments, merge
from tcr_jax.store import Batch

K, LAGS, ACTIVE = 40, 3, 1
RNG = np.random.default_rng(0)
Z_BTK = RNG.normal(size=(8, 12, K)).astype(np.float32) + 0.5
Z_BTK *= np.argsort(np.argsort(-np.abs(Z_BTK), axis=-1), axis=-1) < ACTIVE
DOCUMENT_BT = np.repeat(np.arange(8)[:, None], 12, axis=1)
DOCUMENT_BT[0, 4:] = 10  # two documents in a sequence, each just long enough
DOCUMENT_BT[1, 3] = -1
DOCUMENT_BT[2, :9] = 11  # the rest is shorter than the history
DOCUMENT_BT[4] = -1
Z_BTK[4] = np.nan


def moments_of(size: int, active: int = ACTIVE, lags: int = LAGS) -> CodeMoments:
    """Over batches of `size` sequences."""
    parts = [slice(first, first + size) for first in range(0, len(Z_BTK), size)]
    return code_moments(((Z_BTK[part], DOCUMENT_BT[part]) for part in parts), lags, active)


def windows(lags: int = LAGS) -> np.ndarray:
    """[z_t, .., z_{t-l}] of every token whose history is of one document, found one by one."""
    rows = []
    for z_tk, document_t in zip(Z_BTK.astype(np.float64), DOCUMENT_BT, strict=True):
        for t in range(lags, len(z_tk)):
            if document_t[t] >= 0 and len(set(document_t[t - lags : t + 1])) == 1:
                rows.append(np.concatenate([z_tk[t - lag] for lag in range(lags + 1)]))
    return np.stack(rows)


@pytest.mark.parametrize("active", [ACTIVE, K])
def test_gram_is_the_sum_over_windows(active: int) -> None:
    """Whole Gram matrix, means and count equal those of the windows found one by one, for products of both kinds."""
    moments, window_nf = moments_of(2, active), windows()
    assert moments.tokens == len(window_nf)
    np.testing.assert_allclose(moments.sum_lk.reshape(-1), window_nf.sum(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gram(moments), window_nf.T @ window_nf, rtol=1e-5, atol=1e-5)


def test_the_ends_matter() -> None:
    """The data are such that a Toeplitz matrix of the first row would be wrong."""
    moments = moments_of(2)._replace(ends=moments_of(2).ends._replace(sign_n=0 * moments_of(2).ends.sign_n))
    assert np.abs(gram(moments) - windows().T @ windows()).max() > 1


def test_support_gram_is_part_of_the_gram() -> None:
    """Between any sources of each target, at any lags, the same numbers as in the whole matrix."""
    moments = moments_of(4)
    source_kp = np.random.default_rng(1).integers(0, (LAGS + 1) * K, (K, 6))
    found_kpp = support_gram(moments, lag_table(moments), source_kp) * moments.tokens
    wanted_kpp = gram(moments)[source_kp[:, :, None], source_kp[:, None, :]]
    np.testing.assert_allclose(found_kpp, wanted_kpp, rtol=1e-4, atol=1e-4)


def test_rows_of_the_table() -> None:
    """The slice of the table that `lag_table` names is a row of the Gram matrix, exactly for lag 0."""
    moments = moments_of(8)
    row_f = lag_table(moments)[5, LAGS : 2 * LAGS + 1].reshape(-1) * moments.tokens
    np.testing.assert_allclose(row_f, gram(moments)[5], rtol=1e-5, atol=1e-5)


def test_batches_and_merging_do_not_matter() -> None:
    """One batch, many, or two halves merged: the same Gram matrix."""
    first, second = (
        code_moments([(Z_BTK[part], DOCUMENT_BT[part])], LAGS, ACTIVE) for part in (slice(3), slice(3, None))
    )
    for other in (moments_of(1), merge(first, second)):
        assert other.tokens == moments_of(8).tokens
        np.testing.assert_allclose(gram(other), gram(moments_of(8)), rtol=1e-5, atol=1e-5)


def test_sums_of_half_precision_codes_are_not_in_half_precision() -> None:
    """Codes kept in float16 have the Gram matrix of the same numbers in float32."""
    half_btk = Z_BTK.astype(np.float16)
    half, full = (code_moments([(z_btk, DOCUMENT_BT)], LAGS, ACTIVE) for z_btk in (half_btk, half_btk.astype("f4")))
    np.testing.assert_array_equal(gram(half), gram(full))


def test_a_sharded_batch_gives_the_same() -> None:
    """Sequences split over eight devices: the same Gram matrix."""
    rows = NamedSharding(jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,)), P("data"))
    z_btk, document_bt = jax.device_put((Z_BTK, DOCUMENT_BT), rows)
    moments = code_moments([(z_btk, document_bt)], LAGS, ACTIVE)
    np.testing.assert_allclose(gram(moments), gram(moments_of(8)), rtol=1e-5, atol=1e-5)


def test_codes_of_a_dictionary() -> None:
    """`collect_moments` encodes raw activations."""
    params = tcr_jax.init_params(tcr_jax.Config(latents=40, topk=1), 8, jnp.zeros(8), jnp.ones(()), jax.random.key(0))
    x_btd = RNG.normal(size=(4, 12, 8)).astype(np.float32)
    token_bt = np.zeros((4, 12), int)
    found = collect_moments(params.dictionary, [Batch(x_btd, token_bt, DOCUMENT_BT[:4])], LAGS)
    wanted = code_moments([(tcr_jax.encode(params.dictionary, x_btd), DOCUMENT_BT[:4])], LAGS, 1)
    np.testing.assert_array_equal(gram(found), gram(wanted))


def test_no_token_with_so_long_a_history() -> None:
    """Named with the mend."""
    with pytest.raises(ValueError, match=r"lags=11: no token .* lower lags"):
        code_moments([(Z_BTK[:1], DOCUMENT_BT[:1])], 11, ACTIVE)
