"""How much of the language model's loss the dictionary's reconstruction recovers, on held-out documents.

    python -m experiments.splice --workdir=RUN [--contexts=100]

Writes splice.json. See tcr_jax/intervene/splice.py for the definitions.
"""

import os
from pathlib import Path

from absl import flags

from experiments import launch
from tcr_jax.checkpoint import load_run
from tcr_jax.files import write_text
from tcr_jax.relations.tables import to_json
from tcr_jax.store import Store

for _name, _value in {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}.items():
    os.environ.setdefault(_name, _value)  # read on import: what they print would be in the way of ours
with launch.extra("extract"):
    import torch

    from tcr_jax.extract.language_model import load_model
    from tcr_jax.intervene.passages import read_passages
    from tcr_jax.intervene.splice import splice

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run, as given to experiments.train", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_OUT = flags.DEFINE_string("out", None, "file of the figures (default: WORKDIR/splice.json)")
_CONTEXTS = flags.DEFINE_integer("contexts", 100, "held-out contexts read at most, taken from all over them", 1)
_BATCH = flags.DEFINE_integer("batch", 8, "passages in a forward pass", 1)
_DEVICE = flags.DEFINE_string("device", "cpu", "where the language model runs, as torch names it")


def main() -> None:
    workdir = Path(_WORKDIR.value)
    run = load_run(workdir)
    store = Store.open(_STORE.value or run.config.store)
    run.check_source(store.description.source)
    model = load_model(run.source.model, torch.float32, device=_DEVICE.value)
    passages = read_passages(store, "heldout", run.config.heldout, _CONTEXTS.value)
    figures = splice(model, run.params.dictionary, passages, run.source.layer, batch=_BATCH.value)
    out = Path(_OUT.value) if _OUT.value else workdir / "splice.json"
    write_text(out, to_json(figures))
    for name, value in figures.items():
        print(f"{name:24} {value:10.4f}")
    print(f"\n{out}")


if __name__ == "__main__":
    launch.run(main)
