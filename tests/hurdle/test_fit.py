"""Planted edges are found, bits are what the planted process says, and M keeps to its order."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from tcr_jax.hurdle import HurdleConfig, HurdleProcess, base_process, bits, fit_hurdle
from tcr_jax.hurdle.process import features
from tcr_jax.knobs import ConfigError
from tcr_jax.yardsticks.codes import CodeTable

K, LAGS, CONTEXTS, TOKENS = 8, 2, 150, 128


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def planted(seed: int) -> tuple[CodeTable, float]:
    """Concept 1 fires after 0 fired positive, two tokens on; 2 where 1 fires; 3 takes the sign that 0 had a token ago,
    4 its size from whether 0 fires. Also the mean entropy of the firings of 1 and 2, in bits, given their parents."""
    rng = np.random.default_rng(seed)
    fires = rng.random((CONTEXTS, TOKENS, K)) < 0.2
    sign = np.where(rng.random(fires.shape) < 0.5, 1.0, -1.0)
    size = np.exp(0.3 * rng.normal(size=fires.shape))
    entropy = []
    for t in range(LAGS, TOKENS):
        after_0 = fires[:, t - 2, 0] & (sign[:, t - 2, 0] > 0)
        odds_1 = sigmoid(np.where(after_0, 1.5, -2.0))
        fires[:, t, 1] = rng.random(CONTEXTS) < odds_1
        odds_2 = sigmoid(np.where(fires[:, t, 1], 1.0, -2.0))
        fires[:, t, 2] = rng.random(CONTEXTS) < odds_2
        follows = rng.random(CONTEXTS) < sigmoid(np.where(fires[:, t - 1, 0], 3 * sign[:, t - 1, 0], 0))
        sign[:, t, 3] = np.where(follows, 1, -1)
        size[:, t, 4] *= np.where(fires[:, t, 0], 3, 1)
        for p in (odds_1, odds_2):
            entropy.append(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)))
    z_btk = (fires * sign * size).astype(np.float16)
    document_bt = np.repeat(np.arange(CONTEXTS, dtype=np.int32)[:, None], TOKENS, axis=1)
    return CodeTable(z_btk, np.zeros_like(document_bt), document_bt), float(2 * np.mean(entropy))


TRAIN, _ = planted(0)
HELDOUT, ENTROPY = planted(1)
CONFIG = HurdleConfig(present=True, price=0.05, refit_price=0.0, steps=250, refit_steps=100, learning_rate=0.1)


@pytest.fixture(scope="module")
def base() -> HurdleProcess:
    return base_process(TRAIN.batches(32), LAGS)


@pytest.fixture(scope="module")
def fit(base: HurdleProcess) -> HurdleProcess:
    order = np.array([0, 3, 4, 1, 5, 2, 6, 7])
    return fit_hurdle(base, TRAIN.shuffled(16, 0), CONFIG, order=order)


def test_planted_edges(fit: HurdleProcess) -> None:
    """Each link holds its planted effect, large and of the right sign and channel, and next to nothing besides."""
    b_lcik, m_cik = np.asarray(fit.fires.b_lcik), np.asarray(fit.fires.m_cik)
    np.testing.assert_allclose(b_lcik[1, :, 1, 0], [3.5, 0], atol=0.35)
    np.testing.assert_allclose(m_cik[:, 2, 1], 3.0, atol=0.5)
    np.testing.assert_allclose(np.asarray(fit.sign.b_lcik)[0, :, 3, 0], [3, -3], atol=0.8)
    np.testing.assert_allclose(np.asarray(fit.size.m_cik)[:, 4, 0], np.log(3), atol=0.1)
    count = sum(int(part.sum()) for link in (fit.fires, fit.sign, fit.size) for part in link.edges())
    assert count <= 8


def test_bits(base: HurdleProcess, fit: HurdleProcess) -> None:
    """On other documents each part costs less than the base by just the information that its parents carry."""
    before, after = bits(base, HELDOUT.batches(32))["all"], bits(fit, HELDOUT.batches(32))["all"]
    target_i = np.array([1, 2])
    sampled = base_process(TRAIN.batches(32), LAGS, targets=target_i)
    driven = bits(sampled, HELDOUT.batches(32))["all"].fires
    assert abs((before.fires - after.fires) - (driven - ENTROPY)) < 0.03
    follows = 0.2 * 0.2 * (1 - float(np.sum([-p * np.log2(p) for p in (sigmoid(3.0), sigmoid(-3.0))])))
    assert abs((before.sign - after.sign) - follows) < 0.01
    wide = np.hypot(0.3, 0.4 * np.log(3))  # of log size, over tokens at which 0 fires and those at which it does not
    assert abs((before.size - after.size) - 0.2 * np.log2(wide / 0.3)) < 0.02
    assert before.tokens == after.tokens == CONTEXTS * (TOKENS - LAGS)


def test_base_is_the_empirical_entropy(base: HurdleProcess) -> None:
    """Without edges the cost of the training firings is the sum of the entropies of their rates."""
    scored = TRAIN.z_btk
    rate = (scored != 0).mean(axis=(0, 1))
    entropy = -(rate * np.log2(rate) + (1 - rate) * np.log2(1 - rate)).sum()
    whole = base_process(TRAIN.batches(32), 0)
    np.testing.assert_allclose(bits(whole, TRAIN.batches(32))["all"].fires, entropy, rtol=1e-4)


def test_m_keeps_to_the_order(base: HurdleProcess) -> None:
    """With the order turned round, 1 may depend on 2 and not 2 on 1; at price 0 every admitted entry is used."""
    config = HurdleConfig(past="none", present=True, price=0.0, steps=5, refit_steps=0)
    order = np.arange(K)[::-1]
    fitted = fit_hurdle(base, TRAIN.shuffled(8, 0), config, order=order, parts=["fires"])
    np.testing.assert_array_equal(np.asarray(fitted.fires.edges()[1]), np.triu(np.ones((K, K), bool), 1))
    assert not np.asarray(fitted.fires.b_lcik).any()


def test_share(base: HurdleProcess) -> None:
    """At most `share` of the entries of B and of M are used, those worth most to the likelihood: the planted ones."""
    config = dataclasses.replace(CONFIG, price=0.0, share=2 / (LAGS * K * K), steps=100)
    fitted = fit_hurdle(base, TRAIN.shuffled(16, 0), config, parts=["fires"], order=np.array([0, 3, 4, 1, 5, 2, 6, 7]))
    b_lik, m_ik = map(np.asarray, fitted.fires.edges())
    assert b_lik.sum() == 2 and b_lik[1, 1, 0]
    assert np.argwhere(m_ik).tolist() == [[2, 1]]


def test_own_past(base: HurdleProcess) -> None:
    """past=own learns each concept's diagonal alone."""
    config = HurdleConfig(past="own", price=0.0, steps=3, refit_steps=0)
    fitted = fit_hurdle(base, TRAIN.shuffled(8, 0), config, parts=["fires"])
    for edges_ik in np.asarray(fitted.fires.edges()[0]):
        np.testing.assert_array_equal(edges_ik, np.eye(K, dtype=bool))


def test_targets_are_a_slice(base: HurdleProcess) -> None:
    """A fit of some concepts is those rows of the fit of all: concepts do not compete."""
    config = HurdleConfig(price=0.01, steps=4, refit_steps=0, present=True)
    few = base_process(TRAIN.batches(32), LAGS, targets=np.array([5, 2]))
    whole, part = (fit_hurdle(b, TRAIN.shuffled(8, 0), config, parts=["fires"]) for b in (base, few))
    for mine, theirs in zip(jax.tree.leaves(part.fires), jax.tree.leaves(whole.fires), strict=True):
        axis = mine.ndim - 2 if mine.ndim > 1 else 0
        np.testing.assert_allclose(mine, np.take(theirs, [5, 2], axis), atol=1e-4)


def test_domains_add_up(fit: HurdleProcess) -> None:
    """The pooled figure is the mean of the domains', weighted by their tokens."""
    domains = {document: "prose" if document % 3 else "code" for document in range(CONTEXTS)}
    figures = bits(fit, HELDOUT.batches(32), domains=domains)
    with pytest.raises(ValueError, match="domain 'all' has the name of the pooled figures: rename that folder"):
        bits(fit, HELDOUT.batches(32), domains={0: "all"})
    whole = figures.pop("all")
    assert set(figures) == {"prose", "code"}
    np.testing.assert_allclose(sum(f.tokens * f.fires for f in figures.values()) / whole.tokens, whole.fires, rtol=1e-5)


def test_same_tokens(base: HurdleProcess) -> None:
    """With `lags` given, a process that looks back less is scored on the tokens of one that looks back further."""
    short = base_process(TRAIN.batches(32), 1)
    np.testing.assert_allclose(bits(short, HELDOUT.batches(32), lags=2)["all"], bits(base, HELDOUT.batches(32))["all"])


def test_memory() -> None:
    """The last entry of B is the fading sum over the document's past, up to the token before; nothing crosses over."""
    rng = np.random.default_rng(0)
    z_btk = rng.choice([-1.0, 0.0, 0.0, 2.0], (2, 12, 3)).astype(np.float32)
    document_bt = np.array([[0] * 12, [1] * 5 + [-1] + [2] * 6], np.int32)
    process = base_process([(z_btk, document_bt)], 1, decays=(0.8,))
    feature_nf, scored_n = features(process, z_btk, document_bt, 2)
    memory_btck = np.asarray(feature_nf)[:, -6:].reshape(2, 10, 2, 3)
    expected = [z_btk[1, 6:9] > 0, z_btk[1, 6:9] < 0]  # of token 9: tokens 6, 7, 8 of document 2
    weight_t = 0.8 ** np.arange(3)[::-1] * 0.6
    np.testing.assert_allclose(memory_btck[1, 7], np.einsum("t,ctk->ck", weight_t, expected), rtol=1e-5)
    assert np.asarray(scored_n).reshape(2, 10)[1].tolist() == [True] * 3 + [False] * 3 + [True] * 4


def test_memory_finds_what_lags_cannot(base: HurdleProcess) -> None:
    """A concept driven by another's firing two tokens ago is found through a memory where B has one lag only."""
    short = base_process(TRAIN.batches(32), 1, decays=(0.7,))
    fitted = fit_hurdle(short, TRAIN.shuffled(16, 0), CONFIG, parts=["fires"])
    b_lcik = np.asarray(fitted.fires.b_lcik)
    assert b_lcik[1, 0, 1, 0] > 1 and b_lcik.shape[0] == 2
    np.testing.assert_allclose(np.abs(b_lcik[1, 0, 1]).argmax(), 0)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda: base_process([], 2), "no kept token"),
        (lambda: base_process([], 2, decays=(1.0,)), "must lie between 0 and 1"),
        (lambda: base_process(TRAIN.batches(32), 1, targets=np.array([K])), "must be concepts, from 0 to 7"),
        (lambda: bits(base_process(TRAIN.batches(32), 2), HELDOUT.batches(32), lags=1), "less than the 2"),
        (lambda: bits(base_process(TRAIN.batches(32), 1), HELDOUT.batches(32), lags=TOKENS), "no token has 128"),
        (
            lambda: fit_hurdle(base_process(TRAIN.batches(32), 1), itertools.repeat(None), CONFIG, order=np.zeros(K)),
            "no permutation of the 8",
        ),
    ],
)
def test_bad_input(bad, said: str) -> None:
    """The message says what is wrong and what to give."""
    with pytest.raises(ValueError, match=said):
        bad()


def test_nothing_to_fit() -> None:
    """A configuration without any parent is refused."""
    with pytest.raises(ConfigError, match="base_process is that model"):
        HurdleConfig(past="none")


def test_more_than_all() -> None:
    """A share of more than all edges is refused."""
    with pytest.raises(ConfigError, match="more than there are"):
        HurdleConfig(share=1.5)
