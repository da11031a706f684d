"""The control knows what token identity tells, no more; finer groups fall back on coarser ones."""

import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax.hurdle import base_process, bits
from tcr_jax.hurdle.controls import count, identity_bits
from tcr_jax.yardsticks.codes import CodeTable
from tcr_jax.yardsticks.lexical import bigram, current, previous

CONTEXTS, TOKENS, IDS = 60, 64, 5
RATES = np.array([[0.1, 0.5], [0.9, 0.5], [0.3, 0.5], [0.5, 0.5], [0.7, 0.5]])


def written(seed: int) -> CodeTable:
    """Concept 0 fires at a rate of the token's own id, 1 where the previous id is even; 1 has the sign of the id's
    parity, and a size of its own for every id."""
    rng = np.random.default_rng(seed)
    token_bt = rng.integers(0, IDS, (CONTEXTS, TOKENS)).astype(np.int32)
    rate_btk = RATES[token_bt]
    rate_btk[:, 1:, 1] = np.where(token_bt[:, :-1] % 2 == 0, 0.8, 0.2)
    sign_btk = np.stack([np.ones_like(token_bt), 1 - 2 * (token_bt % 2)], axis=-1)
    size_btk = np.exp(token_bt[..., None] / 2 + 0.1 * rng.normal(size=rate_btk.shape))
    z_btk = (rng.random(rate_btk.shape) < rate_btk) * sign_btk * size_btk
    document_bt = np.repeat(np.arange(CONTEXTS, dtype=np.int32)[:, None], TOKENS, axis=1)
    return CodeTable(z_btk.astype(np.float16), token_bt, document_bt)


TRAIN, HELDOUT = written(0), written(1)
BASE = base_process(TRAIN.batches(16), 1)
CURRENT, PREVIOUS, BIGRAM = (count(TRAIN, BASE, groups) for groups in (current, previous, bigram))


def entropy(p: np.ndarray) -> float:
    return float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).mean())


def test_what_each_control_knows() -> None:
    """Firing costs its entropy given the id, the one before, or both; signs and sizes that ids fix cost their noise."""
    cost = {
        name: identity_bits(BASE, levels, HELDOUT, kappa=0.5, lags=1)["all"]
        for name, levels in {"current": [CURRENT], "previous": [PREVIOUS], "bigram": [CURRENT, BIGRAM]}.items()
    }
    marginal_0, given_id = entropy(RATES[:, 0].mean()), entropy(RATES[:, 0])
    marginal_1, given_previous = entropy(np.array([0.2 * 2 / 5 + 0.8 * 3 / 5])), entropy(np.array([0.2]))
    assert abs(cost["current"].fires - given_id - marginal_1) < 0.03
    assert abs(cost["previous"].fires - marginal_0 - given_previous) < 0.03
    assert abs(cost["bigram"].fires - given_id - given_previous) < 0.03
    assert cost["current"].sign < 0.02 < 0.4 < cost["previous"].sign
    noise = (HELDOUT.z_btk[:, 1:] != 0).sum(axis=-1).mean() * np.log2(np.sqrt(2 * np.pi * np.e) * 0.1)
    assert abs(cost["current"].size - noise) < 0.03


def test_unseen_groups_are_the_base() -> None:
    """On ids that training did not have, and where kappa drowns the counts, a control costs what the base costs."""
    base = bits(BASE, HELDOUT.batches(16))["all"]
    unseen = HELDOUT._replace(token_bt=HELDOUT.token_bt + IDS)
    for cost in (
        identity_bits(BASE, [CURRENT, BIGRAM], unseen, kappa=0.5, lags=1)["all"],
        identity_bits(BASE, [CURRENT], HELDOUT, kappa=1e9, lags=1)["all"],
    ):
        np.testing.assert_allclose([cost.fires, cost.sign, cost.size], base[1:], atol=2e-3)
        assert cost.tokens == base.tokens


def test_only_predicted_concepts() -> None:
    """With targets chosen, the control is that of those concepts; the two add up to the control of both."""
    parts = []
    for target in (0, 1):
        base = base_process(TRAIN.batches(16), 1, targets=jnp.array([target]))
        parts.append(identity_bits(base, [count(TRAIN, base, current)], HELDOUT, kappa=1.0, lags=1)["all"])
    whole = identity_bits(BASE, [CURRENT], HELDOUT, kappa=1.0, lags=1)["all"]
    np.testing.assert_allclose(np.sum(parts, axis=0)[1:], whole[1:], rtol=1e-4)


def test_kappa() -> None:
    """Without shrinkage a group seen once would be certain: refused."""
    with pytest.raises(ValueError, match="kappa=0 must be over 0"):
        identity_bits(BASE, [CURRENT], HELDOUT, kappa=0, lags=1)
