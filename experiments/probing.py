"""How well labels of texts can be read from a few concepts of a trained run: sparse probing.

    python -m experiments.extract --text=DIRECTORY --out=labelled [--layer of the run's store]
    python -m experiments.probing --workdir=DIR --store=labelled [--out=FILE]

The labelled store is an extraction of a directory with one folder a label, one text a file. Writes one JSON object:
accuracies from 1, 2 and 5 concepts, beside those from all channels of the activation and from the majority.
"""

import json
from pathlib import Path

import numpy as np
from absl import flags

from experiments import launch
from tcr_jax.checkpoint import load_run
from tcr_jax.files import write_text
from tcr_jax.store import Store, is_heldout, ordered_batches
from tcr_jax.yardsticks.folders import first_folders
from tcr_jax.yardsticks.probing import pool, probe

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run, as given to experiments.train", required=True)
_STORE = flags.DEFINE_string("store", None, "store of texts in folders named by their labels", required=True)
_OUT = flags.DEFINE_string("out", None, "file written (default: WORKDIR/probing.json)")
_TEST = flags.DEFINE_float("test", 0.5, "share of the texts that probes are tested on", 0, 1)
_SEEDS = flags.DEFINE_integer("seeds", 5, "draws of as many other texts as a label has; the mean is reported", 1)
_LIMIT = flags.DEFINE_integer("limit", None, "batches read at most, taken evenly from all over the store", 1)
_BATCH = flags.DEFINE_integer("batch", 32, "contexts encoded at a time", 1)


def main() -> None:
    run, store = load_run(_WORKDIR.value), Store.open(_STORE.value)
    run.check_source(store.description.source)
    if store.documents is None:
        raise ValueError(f"{_STORE.value}: the store does not name its documents; extract it again")
    label_n, labels = first_folders(store.documents)
    batches = ordered_batches(store, split="all", heldout=_TEST.value, batch=_BATCH.value, limit=_LIMIT.value)
    pooled = pool(run.params.dictionary, batches, len(label_n))
    test_n = is_heldout(np.arange(len(label_n)), _TEST.value)
    draws = [probe(pooled, label_n, test_n, seed=seed) for seed in range(_SEEDS.value)]
    found = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
    print(f"{len(labels)} labels: {', '.join(labels)}")
    for name, value in found.items():
        print(f"  {value:8.3f}  {name}")
    out = Path(_OUT.value) if _OUT.value else Path(_WORKDIR.value) / "probing.json"
    write_text(out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    launch.run(main)
