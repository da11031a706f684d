"""Settings that the libraries below read when they are imported, a tiny model, and its text in a store."""

import os
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers

from tcr_jax import Config, Params, init_params
from tcr_jax.extract.residual_stream import residual_stream
from tcr_jax.intervene.overlap import Asked, Propensity
from tcr_jax.intervene.passages import Passage, read_passages
from tcr_jax.store import Batch, Source, Store, import_arrays, ordered_batches
from tests.extract.tiny_models import tiny_model

transformers.logging.set_verbosity_error()

LAYER, WIDTH, LATENTS, LAGS, LENGTH, ROWS = 2, 16, 32, 2, 20, 60


@pytest.fixture(scope="session")
def model() -> transformers.PreTrainedModel:
    return tiny_model("llama")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, model: transformers.PreTrainedModel) -> Store:
    """Two documents of random tokens a context, the last few positions padding; the first two of each not kept."""
    directory: Path = tmp_path_factory.mktemp("intervene") / "store"
    token_bt = np.random.default_rng(0).integers(1, 300, (ROWS, LENGTH))
    document_bt = 2 * np.arange(ROWS)[:, None] + (np.arange(LENGTH) >= LENGTH // 2)
    x_btd = np.concatenate([residual_stream(model, LAYER, half) for half in np.split(token_bt, 2, axis=1)], axis=1)
    source = Source(model="tiny", layer=LAYER, width=WIDTH, context=LENGTH, dtype="float32")
    import_arrays(directory, source, x_btd, token_bt, documents=document_bt, skip_first=2, outlier_norm=np.inf)
    return Store.open(directory)


@pytest.fixture(scope="session")
def passages(store: Store) -> list[Passage]:
    return list(read_passages(store, "all", 0.5))


@pytest.fixture(scope="session")
def batches(store: Store) -> list[Batch]:
    return list(ordered_batches(store, split="train", heldout=0.5, batch=8))


@pytest.fixture(scope="session")
def params(store: Store) -> Params:
    """A dictionary of orthonormal directions and their opposites: it reads and writes x without loss."""
    config = Config(latents=LATENTS, topk=8, lags=LAGS, activation="relu")
    description = store.description
    params = init_params(config, WIDTH, jnp.asarray(description.mean_d), description.scale, jax.random.key(0))
    direction_dd = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (WIDTH, WIDTH)))[0]
    direction_kd = jnp.concatenate([direction_dd, -direction_dd])
    dictionary = params.dictionary.replace(encoder_kd=direction_kd, decoder_kd=direction_kd)
    b_lkk = 0.1 * jax.random.normal(jax.random.key(2), (LAGS, LATENTS, LATENTS))
    return Params(dictionary, params.process.replace(b_lkk=jnp.where(jnp.abs(b_lkk) > 0.1, b_lkk, 0)))


@pytest.fixture(scope="session")
def z_tk(params: Params, passages: list[Passage]) -> list[np.ndarray]:
    from tcr_jax import encode

    return [np.asarray(encode(params.dictionary, passage.x_td)) for passage in passages]


@pytest.fixture(scope="session")
def y_tk(params: Params, passages: list[Passage]) -> list[np.ndarray]:
    from tcr_jax.dictionary import preactivate

    return [np.asarray(preactivate(params.dictionary, passage.x_td)) for passage in passages]


def alike(*asked: Asked) -> dict[Asked, Propensity]:
    """Sources and lags of which nothing is known, so that all tokens weigh the same."""
    return dict.fromkeys(asked, Propensity(np.zeros(0), np.zeros(0)))
