"""python -m experiments.import_activations: files and flags in, a store or one clear line of error out."""

import json
import os
import subprocess

import numpy as np

from tcr_jax import store
from tests import programs


def launch(*flags: str) -> subprocess.CompletedProcess:
    required = ("--model=theirs", "--layer=2")
    return programs.run(dict(os.environ), "-m", "experiments.import_activations", *required, *flags)


def test_the_launcher_writes_a_store_or_says_why_not(tmp_path):
    """Flags reach the store and its description; bad input ends with exit code 1 and one line naming the file."""
    x_btd = np.random.default_rng(0).normal(size=(5, 12, 4))
    np.save(tmp_path / "x.npy", x_btd)
    np.save(tmp_path / "tokens.npy", np.arange(60).reshape(5, 12))
    (tmp_path / "pieces.json").write_text(json.dumps([f"piece {token}" for token in range(60)]))
    flags = [f"--{name}={tmp_path / file}" for name, file in [("activations", "x.npy"), ("out", "store")]]
    options = (f"--tokens={tmp_path / 'tokens.npy'}", f"--pieces={tmp_path / 'pieces.json'}", "--skip_first=2")
    done = launch(*flags, *options, "--outlier_norm=inf")
    assert done.returncode == 0, done.stderr
    assert "complete, 50 tokens kept of 60 positions, 5 documents, 12 positions a context, 4 channels" in done.stdout
    reader = store.Store.open(tmp_path / "store")
    assert reader.pieces[3] == "piece 3" and reader.description.source.layer == 2
    np.testing.assert_array_equal(reader[4].activations_td, x_btd[4].astype(np.float32))

    failed = launch(*flags, f"--tokens={tmp_path / 'nowhere.npy'}")
    assert failed.returncode == 1
    assert "error:" in failed.stderr and "nowhere.npy: cannot be opened" in failed.stderr
    assert "Traceback" not in failed.stderr
