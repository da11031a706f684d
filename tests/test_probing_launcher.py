"""The launcher of sparse probing: from a run and a labelled store to a file of accuracies."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tcr_jax.config import PRESETS, Config
from tcr_jax.loop import train
from tcr_jax.mesh import make_mesh
from tcr_jax.store.texts import write_texts
from tests import programs


@pytest.fixture(scope="module")
def workdir(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a sparse autoencoder, two steps long."""
    directory = tmp_path_factory.mktemp("run") / "run"
    sizes = {"latents": 16, "topk": 4, "steps": 2, "batch": 8, "store": str(small_store)}
    config = Config(**PRESETS["sae_topk"], **sizes)
    train(config, directory, make_mesh(config))
    return directory


def test_accuracies_are_written(workdir: Path, small_store: Path, tmp_path: Path) -> None:
    """Documents in folders are labelled by them; where the store names no document, one line says what to do."""
    store = shutil.copytree(small_store, tmp_path / "store")
    command = ("-m", "experiments.probing", f"--workdir={workdir}", f"--store={store}")
    failed = programs.run(dict(os.environ), *command)
    assert failed.returncode == 1 and "does not name its documents" in failed.stderr
    write_texts(store, "documents", [f"{('law', 'mail')[n % 2]}/{n}.txt" for n in range(80)])
    done = programs.run(dict(os.environ), *command)
    assert done.returncode == 0, done.stderr
    found = json.loads((workdir / "probing.json").read_text())
    assert found["labels"] == 2 and found["majority"] == 0.5
    assert set(found) >= {"concepts_1", "concepts_2", "concepts_5", "activations"}
