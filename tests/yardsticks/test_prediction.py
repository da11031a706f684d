"""R^2 on held-out tokens: of hand-made predictors, by domain, on tokens with full history only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tcr_jax
from tcr_jax.params import Dictionary, Process
from tcr_jax.store import Batch
from tcr_jax.yardsticks.prediction import from_process, score

K, D, LAGS = 10, 6, 1
RNG = np.random.default_rng(0)


def dictionary() -> Dictionary:
    config = tcr_jax.Config(latents=K, topk=3)
    return tcr_jax.init_params(config, D, jnp.ones(D), jnp.asarray(2.0), jax.random.key(0)).dictionary


def batches() -> list[Batch]:
    """Two batches of four documents, some positions dropped, NaN where dropped."""
    found = []
    for first in (0, 4):
        x_btd = RNG.normal(size=(4, 9, D)).astype(np.float32) + 1
        document_bt = np.repeat(np.arange(first, first + 4)[:, None], 9, axis=1)
        document_bt[1, 4] = -1
        x_btd[1, 4] = np.nan
        found.append(Batch(x_btd, RNG.integers(0, 5, (4, 9)), document_bt))
    return found


BATCHES = batches()
DOMAINS = {0: "a", 1: "a", 4: "a", 2: "b", 5: "b"}  # 3, 6 and 7 have none


def scored_rows(documents: set[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z_t, z_{t-1} and x_t of every scored token of some documents, found one by one."""
    rows = []
    for batch in BATCHES:
        z_btk = np.asarray(tcr_jax.encode(dictionary(), batch.x_btd), np.float64)
        for b, t in np.ndindex(4, 9):
            own = batch.document_bt[b, t]
            if t and own in documents and batch.document_bt[b, t - 1] == own:
                rows.append((z_btk[b, t], z_btk[b, t - 1], batch.x_btd[b, t].astype(np.float64)))
    z_nk, earlier_nk, x_nd = (np.stack(column) for column in zip(*rows, strict=True))
    return z_nk, earlier_nk, x_nd


@pytest.mark.parametrize("domain, documents", [("all", set(range(8))), ("a", {0, 1, 4}), ("b", {2, 5})])
def test_r2_of_a_process(domain: str, documents: set[int]) -> None:
    """R^2 of z and of x equal those of the scored tokens found one by one, pooled and in each domain."""
    process = Process(0.5 * jnp.eye(K)[None], None, jnp.full(K, 0.1))
    figures = score(dictionary(), {"half": from_process(process)}, BATCHES, LAGS, DOMAINS)
    z_nk, earlier_nk, x_nd = scored_rows(documents)
    guess_nk = 0.5 * earlier_nk + 0.1
    guess_nd = np.asarray(tcr_jax.decode(dictionary(), guess_nk))
    assert figures[f"{domain}/tokens"] == len(z_nk)
    for kind, values, guess in (("z", z_nk, guess_nk), ("x", x_nd, guess_nd)):
        wanted = 1 - np.square(values - guess).sum() / np.square(values - values.mean(axis=0)).sum()
        np.testing.assert_allclose(figures[f"{domain}/half/r2_{kind}"], wanted, rtol=1e-4)


def test_the_best_and_the_zero_point() -> None:
    """The code itself scores 1 on z and the dictionary's own share on x; the mean of the scored tokens scores 0."""
    mean_k = jnp.float32(scored_rows(set(range(8)))[0].mean(axis=0))
    predictors = {"itself": lambda z_btk, _: z_btk, "mean": lambda z_btk, _: jnp.broadcast_to(mean_k, z_btk.shape)}
    figures = score(dictionary(), predictors, BATCHES, LAGS)
    z_nk, _, x_nd = scored_rows(set(range(8)))
    error = np.square(x_nd - np.asarray(tcr_jax.decode(dictionary(), z_nk))).sum()
    assert figures["all/itself/r2_z"] == 1
    np.testing.assert_allclose(figures["all/itself/r2_x"], 1 - error / (len(x_nd) * x_nd.var(axis=0).sum()), rtol=1e-4)
    np.testing.assert_allclose(figures["all/mean/r2_z"], 0, atol=1e-5)
    assert set(figures) == {"all/tokens"} | {f"all/{name}/r2_{kind}" for name in predictors for kind in "zx"}


def test_no_scored_token() -> None:
    """Named with the mend."""
    with pytest.raises(ValueError, match=r"lags=9: no held-out token .* lower lags"):
        score(dictionary(), {}, BATCHES, 9)


def test_a_domain_with_the_name_of_all() -> None:
    """Its figures would take the place of the pooled ones."""
    with pytest.raises(ValueError, match="domain 'all' has the name of the pooled figures: rename that folder"):
        score(dictionary(), {}, BATCHES, LAGS, {0: "all"})
