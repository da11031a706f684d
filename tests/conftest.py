"""Eight CPU devices for every test, and a small store with a known process in it."""

import os
from pathlib import Path

os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiling takes most of the suite's time; read on import

import jax
import numpy as np
import pytest

from tcr_jax.store import Source, import_arrays

jax.config.update("jax_num_cpu_devices", 8)
os.environ["NPROC"] = "64"  # see experiments/processes.py
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # for the processes that tests start

WIDTH, CONTEXT, SEQUENCES = 16, 24, 80


def pytest_configure(config: pytest.Config) -> None:
    """What takes long to compile is kept for the next run (`--cache-clear` forgets it), 256 MiB at most."""
    if not config.pluginmanager.hasplugin("cacheprovider"):
        return
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
    jax.config.update("jax_compilation_cache_max_size", 2**28)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def known_process(rng: np.random.Generator, latents: int = 24) -> np.ndarray:
    """Activations [sequences, tokens, d] of sparse concepts that drive themselves and their neighbours."""
    b_kk = 0.5 * np.eye(latents) + 0.4 * np.eye(latents, k=-1)
    inverse_kk = np.linalg.inv(np.eye(latents) - 0.3 * np.eye(latents, k=-2))
    eps_tbk = rng.laplace(size=(CONTEXT, SEQUENCES, latents)) * (rng.random((CONTEXT, SEQUENCES, latents)) < 0.2)
    z_bk, z_tbk = np.zeros((SEQUENCES, latents)), []
    for eps_bk in eps_tbk:
        z_bk = (z_bk @ b_kk.T + eps_bk) @ inverse_kk.T
        z_tbk.append(z_bk)
    decoder_kd = rng.normal(size=(latents, WIDTH)) / np.sqrt(WIDTH)
    return (np.stack(z_tbk, axis=1) @ decoder_kd + 0.1).astype(np.float32)


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete store of 80 contexts of 24 tokens, width 16, one document a context."""
    directory = tmp_path_factory.mktemp("data") / "store"
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 50, (SEQUENCES, CONTEXT))
    documents = np.repeat(np.arange(SEQUENCES)[:, None], CONTEXT, axis=1)
    source = Source(model="synthetic", layer=1, width=WIDTH, context=CONTEXT, dtype="float32")
    import_arrays(directory, source, known_process(rng), tokens, documents=documents, skip_first=0, outlier_norm=np.inf)
    return directory


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes that tests start, of all workers, keep what they compile for the next one."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"
