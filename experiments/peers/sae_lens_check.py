"""Our sparse autoencoders beside those of sae-lens: the same data, held-out tokens, width, L0 and tokens seen.

    python3 -m venv peer && peer/bin/pip install torch==2.13.0 sae-lens==6.54.12
    python -m experiments.peers.sae_lens_check --store=store --out=DIR --peer=peer/bin/python

Trains each preset with our train step, and with sae-lens (experiments/peers/sae_lens_train.py, in its own environment)
twice: with our learning rates, and with its own default. Then sae-lens's weights are read as a dictionary of ours: its
figures and ours must agree. Writes DIR/sae_lens.json and prints one line a row.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import launch
from experiments.peers.sae_lens_weights import as_dictionary
from tcr_jax.checkpoint import load_run
from tcr_jax.config import PRESETS, Config
from tcr_jax.files import write_text
from tcr_jax.loop import train
from tcr_jax.mesh import make_mesh
from tcr_jax.params import Dictionary
from tcr_jax.store import Batch, Store, ordered_batches
from tcr_jax.yardsticks.dictionary import measure_dictionary

PEER = {"sae_relu": "standard", "sae_topk": "topk", "sae_batchtopk": "batchtopk"}
PEER_RATE = {"rate": 3e-4, "warmup": 0.0, "decay": 0.0}  # sae-lens's defaults (SAETrainerConfig)
PROGRAM = Path(__file__).with_name("sae_lens_train.py")

_STORE = flags.DEFINE_string("store", None, "activation store", required=True)
_OUT = flags.DEFINE_string("out", None, "directory of runs, weights and sae_lens.json", required=True)
_PEER = flags.DEFINE_string("peer", None, "the Python of an environment with sae-lens", required=True)
_PRESETS = flags.DEFINE_multi_enum("preset", list(PEER), list(PEER), "autoencoders compared")
_LATENTS = flags.DEFINE_integer("latents", 768, "latents in each", 1)
_TOPK = flags.DEFINE_integer("topk", 32, "latents kept a token", 1)
_STEPS = flags.DEFINE_integer("steps", 250, "optimiser steps", 1)
_BATCH = flags.DEFINE_integer("batch", 32, "contexts a step", 1)
_SEEDS = flags.DEFINE_integer("seeds", 1, "seeds of each", 1)


def tokens(batches: Iterator[Batch]) -> np.ndarray:
    """The kept activations, a row a token."""
    return np.concatenate([np.asarray(batch.x_btd, np.float32)[batch.document_bt >= 0] for batch in batches])


def main() -> None:
    store, out = Store.open(_STORE.value), Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    description, heldout = store.description, Config().heldout
    mean_d, scale = np.float32(description.mean_d), np.float32(description.scale)
    for split in ("train", "heldout"):
        x_nd = tokens(ordered_batches(store, split=split, heldout=heldout, batch=32))
        np.save(out / f"{split}.npy", (x_nd - mean_d) / scale)

    def measured(dictionary: Dictionary) -> dict[str, float]:
        batches = ordered_batches(store, split="heldout", heldout=heldout, batch=32)
        found = measure_dictionary(dictionary, batches, np.zeros(description.documents, int), ["all"])
        return {name: found[name] for name in ("fvu", "l0", "dead")}

    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        print("  ".join(f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
        write_text(out / "sae_lens.json", json.dumps(rows, indent=1) + "\n")

    for preset in _PRESETS.value:
        for seed in range(_SEEDS.value):
            sizes: dict[str, Any] = {"latents": _LATENTS.value, "topk": _TOPK.value}
            sizes |= {"steps": _STEPS.value, "seed": seed}
            run: dict[str, Any] = {"store": _STORE.value, "batch": _BATCH.value, "checkpoint_every": _STEPS.value}
            config = Config(**PRESETS[preset], **sizes, **run)
            workdir = out / f"{preset}-{seed}"
            train(config, workdir, make_mesh(config))
            add({"preset": preset, "seed": seed, "by": "tcr_jax", **measured(load_run(workdir).params.dictionary)})
            ours = {"rate": config.learning_rate, "warmup": config.warmup, "decay": config.decay}
            tokens_a_step = config.batch * store.tokens("train", heldout) / len(store.contexts("train", heldout))
            for name, rates in {"our rates": ours, "its default": PEER_RATE}.items():
                base = out / f"{preset}-{seed}-{name.replace(' ', '-')}"
                settings = {**sizes, **rates, "architecture": PEER[preset], "batch": round(tokens_a_step)}
                if config.code_l1:
                    settings["l1"] = config.code_l1
                options = [f"--{key}={value}" for key, value in settings.items()]
                subprocess.run([_PEER.value, str(PROGRAM), str(out), str(base), *options], check=True)
                peer = json.loads(base.with_suffix(".json").read_text())
                with np.load(base.with_suffix(".npz")) as weights:
                    dictionary = as_dictionary(dict(weights), PEER[preset], _TOPK.value, mean_d, scale)
                read = {f"read_{key}": value for key, value in measured(dictionary).items()}
                add({"preset": preset, "seed": seed, "by": f"sae-lens, {name}", **peer, **read})


if __name__ == "__main__":
    launch.run(main, subprocess.CalledProcessError)
