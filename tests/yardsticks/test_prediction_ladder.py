"""The ladder on a small store with a known process: every rung there, and in the order that they must have."""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp

import tcr_jax
from tcr_jax.store import Batch, Store, ordered_batches
from tcr_jax.yardsticks.prediction_ladder import prediction_ladder

RUNGS = {"nothing", "own past", "past, for x", "lift", "token", "bigram", "token + M", "previous token", "VAR"}
RUNGS |= {"random basis", "distant", "distant, nothing", "mine", "longer"}
RUNGS |= {f"{name}{sources}" for name in ("past", "present", "both") for sources in ("", ", all sources")}


def test_every_rung(small_store: Path) -> None:
    """On the text it was fitted to, R^2 rises from nothing over own past and past to both, and M adds to tokens."""
    store = Store.open(small_store)
    width, mean_d = store.description.source.width, jnp.float32(store.description.mean_d)
    config = tcr_jax.Config(latents=16, topk=16)
    params = tcr_jax.init_params(config, width, mean_d, jnp.float32(store.description.scale), jax.random.key(0))

    def batches() -> Iterator[Batch]:
        return ordered_batches(store, split="all", heldout=0.1, batch=80)

    figures = prediction_ladder(
        params.dictionary,
        batches,
        batches,
        lags=1,
        parents=6,
        distance=18,
        processes={
            "mine": tcr_jax.Process(None, None, jnp.zeros(16)),
            "longer": tcr_jax.Process(jnp.zeros((4, 16, 16)), None, jnp.zeros(16)),
        },
        domains=dict.fromkeys(range(0, 80, 2), "even"),
    )
    assert {name.split("/")[1] for name in figures if name.startswith("all/")} == RUNGS | {"tokens"}
    assert {name.split("/")[0] for name in figures} == {"all", "even"}
    assert figures["all/tokens"] == 80 * (24 - 4)  # those with the history of the longest
    r2 = {name.split("/")[1]: value for name, value in figures.items() if name.startswith("all") and "r2_z" in name}
    assert abs(r2["nothing"]) < 1e-3 < r2["own past"] < r2["past"] < r2["both"] < r2["both, all sources"]
    assert r2["previous token"] < r2["lift"] < r2["past"] < r2["past, all sources"]
    assert r2["token"] < r2["token + M"] < r2["both, all sources"]
    assert r2["distant, nothing"] < r2["distant"] < r2["past"]
    assert figures["all/past/r2_x"] < figures["all/past, for x/r2_x"] < figures["all/VAR/r2_x"]
