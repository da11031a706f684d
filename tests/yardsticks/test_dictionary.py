"""Figures of a dictionary: their definitions, pooled and by domain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Config, decode, encode, init_params
from tcr_jax.store import Batch
from tcr_jax.yardsticks.dictionary import measure_dictionary

K, D, T = 40, 6, 12
RNG = np.random.default_rng(0)
X_BTD = RNG.normal(loc=5.0, size=(4, T, D)).astype(np.float32)
DOCUMENT_BT = np.repeat(np.arange(4, dtype=np.int32)[:, None], T, axis=1)
DOCUMENT_BT[0, 3:5] = -1
X_BTD[0, 3:5] = np.nan
DOMAIN_N = np.array([0, 1, 0, -1])


def dictionary():
    config = Config(latents=K, topk=2)
    return init_params(config, D, jnp.full(D, 4.0), jnp.float32(2.0), jax.random.key(0)).dictionary


def batches(rows: int):
    for start in range(0, 4, rows):
        part = slice(start, start + rows)
        yield Batch(X_BTD[part], np.zeros_like(DOCUMENT_BT[part]), DOCUMENT_BT[part])


def by_hand(kept_bt: np.ndarray) -> dict[str, float]:
    x = X_BTD[kept_bt]
    z = np.asarray(encode(dictionary(), x))
    error = x - np.asarray(decode(dictionary(), z))
    deviation = np.square(x - x.mean(0)).sum()
    return {
        "fvu": np.square(error).sum() / deviation,
        "l0": (z != 0).sum(-1).mean(),
        "dead": 1 - (z != 0).any(0).mean(),
        "code_variance": z.var(0).sum() / (x / 2.0).var(0).sum(),
        "tokens": len(x),
    }


def test_figures_are_their_definitions() -> None:
    """Each figure by hand over kept tokens: pooled over all documents, and of each domain about its own mean."""
    found = measure_dictionary(dictionary(), batches(4), DOMAIN_N, ["law", "mail", "none"])
    expected = by_hand(DOCUMENT_BT >= 0)
    for number, name in enumerate(["law", "mail"]):
        of_domain = (DOCUMENT_BT >= 0) & (DOMAIN_N[DOCUMENT_BT] == number)
        expected |= {f"{name}/{figure}": value for figure, value in by_hand(of_domain).items()}
    assert found == pytest.approx(expected, rel=1e-4)


def test_batches_add_up() -> None:
    """The figures do not depend on how the tokens are cut into batches."""
    domains = ["law", "mail"]
    whole, single = (measure_dictionary(dictionary(), batches(rows), DOMAIN_N, domains) for rows in (4, 1))
    assert whole == pytest.approx(single, rel=1e-5)


def test_what_cannot_be_measured_is_named() -> None:
    """No tokens, a document without a domain, a domain without a name: each error says which."""
    with pytest.raises(ValueError, match="no token to measure"):
        measure_dictionary(dictionary(), [], DOMAIN_N, ["law", "mail"])
    with pytest.raises(ValueError, match="document 3 has no domain: domain_n has 2 entries"):
        measure_dictionary(dictionary(), batches(4), DOMAIN_N[:2], ["law", "mail"])
    with pytest.raises(ValueError, match="domain 1, but only 1 have names"):
        measure_dictionary(dictionary(), batches(4), DOMAIN_N, ["law"])
