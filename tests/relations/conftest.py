"""A small world whose relations are known: concepts that follow a given B and M, their store, and a model of them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tcr_jax import Config, Params, Process, init_params, simulate
from tcr_jax.checkpoint import Run
from tcr_jax.relations.report import write_report
from tcr_jax.store import Context, Source, Store, begin, finish, write_shard
from tcr_jax.typing import DROPPED

K, D, T = 8, 12, 24
SOURCE = Source(model="world", layer=1, width=D, context=T, dtype="float32")
PIECES = [" class", "\n", "<script>alert(1)</script>", " & co", "$x_1$", "naïve", "\t", " of", "the", "日本"]


@pytest.fixture(scope="session")
def process() -> Process:
    """0 -> 1 one token later, 2 -> 3 two later, 4 itself one later, and 5 -> 6 within the token."""
    b_lkk, m_kk = np.zeros((2, K, K), np.float32), np.zeros((K, K), np.float32)
    b_lkk[0, 1, 0], b_lkk[1, 3, 2], b_lkk[0, 4, 4] = 0.8, 0.5, 0.6
    m_kk[6, 5] = 0.7
    b_lkk[0, 7, 2] = 0.05  # an effect that the data do not have
    return Process(b_lkk=jnp.array(b_lkk), m_kk=jnp.array(m_kk), intercept_k=jnp.full(K, 0.01))


@pytest.fixture(scope="session")
def run(process: Process) -> Run:
    """A model that reads the world's concepts exactly: its decoder is the world's, its firings are those above 0.05."""
    config = Config(latents=K, lags=2, activation="batch_topk", topk=4, heldout=0.4)
    params = init_params(config, D, jnp.full(D, 3.0), 2.0, jax.random.key(0))
    direction_dk = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (D, D)))[0][:, :K]
    dictionary = params.dictionary.replace(
        encoder_kd=direction_dk.T, decoder_kd=direction_dk.T, threshold=jnp.array(0.05)
    )
    return Run(config, Params(dictionary, process), SOURCE, step=7, damaged=[])


@pytest.fixture(scope="session")
def z_btk(process: Process) -> np.ndarray:
    """Positive concepts, each firing at one token in five, that follow the process without the false effect."""
    random = np.random.default_rng(0)
    eps_btk = random.exponential(size=(60, T, K)) * (random.random((60, T, K)) < 0.2)
    true = process.replace(b_lkk=process.b_lkk.at[0, 7, 2].set(0.0), intercept_k=None)
    return np.asarray(jax.vmap(simulate, (None, 0))(true, jnp.array(eps_btk, jnp.float32)))


@pytest.fixture(scope="session")
def store(store_directory: Path) -> Store:
    return Store.open(store_directory)


@pytest.fixture(scope="session")
def store_directory(tmp_path_factory: pytest.TempPathFactory, run: Run, z_btk: np.ndarray) -> Path:
    """Two documents a context, the first three positions not kept; the token is the concept that is strongest."""
    dictionary = run.params.dictionary
    x_btd = np.asarray(dictionary.mean_d + dictionary.scale * (z_btk @ dictionary.decoder_kd), np.float32)
    directory: Path = tmp_path_factory.mktemp("world") / "store"
    begin(directory, SOURCE, PIECES)
    contexts = []
    for row, x_td in enumerate(x_btd):
        document_t = np.where(np.arange(T) < T // 2, 2 * row, 2 * row + 1).astype(np.int32)
        document_t[T - row % 3 :] = DROPPED
        kept_t = (document_t != DROPPED) & (np.arange(T) >= 3)
        token_t = np.where(z_btk[row].max(1) > 0.05, z_btk[row].argmax(1), 8).astype(np.int32)
        contexts.append(Context(x_td, token_t, document_t, kept_t))
    write_shard(directory, SOURCE, 0, contexts)
    finish(directory, SOURCE, 1)
    return directory


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory, run: Run, store: Store) -> Path:
    """The report of the world, with training curves."""
    out = tmp_path_factory.mktemp("report")
    names = ("fvu", "r2_past", "r2_past_present", "zeros_b", "heldout_fvu", "heldout_r2_past")
    metrics = [{"tokens": 1000 * step, **dict.fromkeys(names, step / 10)} for step in range(5)]
    write_report(run, store, out, metrics=[*metrics, {"tokens": 6000, "r2_past": float("nan")}], edges=10)
    return out
