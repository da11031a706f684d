"""Lagged pairs: every token beside those before it in its own document, and nothing else."""

import jax.numpy as jnp
import numpy as np

from tcr_jax.identify.lagged import lagged


def test_rows_hold_a_token_and_the_tokens_before_it() -> None:
    """Where the last `lags` tokens were kept and are of one document, the row is [x_t, x_{t-1}, ..]; elsewhere zero."""
    x_btd = np.random.default_rng(0).normal(size=(2, 9, 3)).astype(np.float32)
    document_bt = np.array([[0, 0, 0, 0, 1, 1, 1, 1, 1], [2, 2, -1, 2, 2, 2, -1, -1, -1]])
    lagged_nf, scored_n = lagged(jnp.asarray(x_btd), jnp.asarray(document_bt), 2)
    assert np.argwhere(np.asarray(scored_n).reshape(2, 7)).tolist() == [[0, 0], [0, 1], [0, 4], [0, 5], [0, 6], [1, 3]]
    for row_f, scored, (b, t) in zip(lagged_nf, scored_n, np.ndindex(2, 7), strict=True):
        expected_f = np.concatenate([x_btd[b, t + 2 - lag] for lag in range(3)])
        np.testing.assert_array_equal(row_f, expected_f if scored else 0)


def test_dropped_tokens_may_hold_anything() -> None:
    """A NaN at a dropped position reaches no row."""
    x_btd = np.ones((1, 6, 2), np.float32)
    x_btd[0, 2] = np.nan
    lagged_nf, scored_n = lagged(jnp.asarray(x_btd), jnp.array([[0, 0, -1, 0, 0, 0]]), 1)
    assert np.isfinite(lagged_nf).all()
    assert np.asarray(scored_n).tolist() == [True, False, False, True, True]


def test_sequences_shorter_than_the_history_have_no_rows() -> None:
    """However long the lags."""
    for lags in (3, 4, 9):
        lagged_nf, scored_n = lagged(jnp.ones((2, 3, 2)), jnp.zeros((2, 3), int), lags)
        assert lagged_nf.shape == (0, 2 * (lags + 1)) and scored_n.shape == (0,)
