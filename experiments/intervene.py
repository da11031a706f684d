"""Acts on the concepts of a trained model inside its language model, and compares with what its edges predict.

    python -m experiments.intervene --workdir=RUN [--edges=FILE.csv] [--edited_layer=8 --edited_layer=10] [--after=160]

Writes interventions.csv, interventions.json and interventions.png. Every figure is of held-out documents: concepts are
removed where they fire and added where they do not, at one token and an earlier block, and the change of each target is
read at the dictionary's block some tokens later. The tokens are those to which an edge refers: see
tcr_jax/intervene/overlap.py, and tcr_jax/intervene/study.py for the rest. Of several blocks, that is used at which
training documents agree best with the edges.

A table of edges (experiments.certify writes one) takes the place of the run's own process: what it does not name was
not selected. Tested are its first edges between two concepts, and beside them those of their sources with themselves
at the same lags.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

from absl import flags

from experiments import launch
from tcr_jax.checkpoint import Run, load_run
from tcr_jax.config import ConfigError
from tcr_jax.files import write_bytes, write_text
from tcr_jax.params import Params
from tcr_jax.relations.edges import rank
from tcr_jax.relations.evidence import gather
from tcr_jax.relations.tables import to_json
from tcr_jax.store import Batch, Store, ordered_batches
from tcr_jax.yardsticks.edge_table import from_csv, to_process

for _name, _value in {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}.items():
    os.environ.setdefault(_name, _value)  # read on import: what they print would be in the way of ours
with launch.extra("report"):
    from tcr_jax.relations import comparisons, pictures
with launch.extra("extract"):
    import torch

    from tcr_jax.extract.errors import ExtractError
    from tcr_jax.extract.language_model import load_model
    from tcr_jax.intervene.edges import Edge
    from tcr_jax.intervene.passages import Passage, read_passages
    from tcr_jax.intervene.study import Carry, Study, study
    from tcr_jax.intervene.table import to_csv

BATCH, READ = 32, 512
"""Contexts at a time, and how many times at most, of the training text that is read for the overlap."""

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run, as given to experiments.train", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_OUT = flags.DEFINE_string("out", None, "directory of the results (default: WORKDIR/interventions)")
_EDGES = flags.DEFINE_string(
    "edges", None, "CSV with columns source, target, lag, weight, best first (default: the run's own, on training text)"
)
_COUNT = flags.DEFINE_integer("count", 100, "edges tested at most", 1)
_EDITED_LAYERS = flags.DEFINE_multi_integer("edited_layer", [10], "block after which concepts are edited", 1)
_CARRY = flags.DEFINE_enum("carry", "gradient", get_args(Carry), "how directions are carried to that block")
_OCCURRENCES = flags.DEFINE_integer("occurrences", 24, "tokens at which a source is edited for a lag, of each kind", 2)
_BYSTANDERS = flags.DEFINE_integer(
    "bystanders", 50, "concepts drawn at random that are edited as well, the base of the fidelity score", 0
)
_TRAINING = flags.DEFINE_integer("training", 100, "training contexts that directions are carried with", 1)
_HELDOUT = flags.DEFINE_integer("heldout_contexts", 400, "held-out contexts read at most", 1)
_AFTER = flags.DEFINE_integer(
    "after",
    0,
    "the --heldout_contexts of an earlier run, after which something was chosen: its documents are left out",
    0,
)
_DEVICE = flags.DEFINE_string("device", "cpu", "where the language model runs, as torch names it")
_SEED = flags.DEFINE_integer("seed", 0, "of the tokens and of the random controls")


def main() -> None:
    workdir = Path(_WORKDIR.value)
    out = Path(_OUT.value) if _OUT.value else workdir / "interventions"
    out.mkdir(parents=True, exist_ok=True)
    run = load_run(workdir)
    store = Store.open(_STORE.value or run.config.store)
    run.check_source(store.description.source)
    params, edges = _selected(run, Path(_EDGES.value)) if _EDGES.value else (run.params, _strongest(run, store))
    heldout = run.config.heldout
    passages = _unseen(store, heldout)
    result = study(
        load_model(run.source.model, torch.float32, device=_DEVICE.value),
        params,
        run.source.layer,
        list(read_passages(store, "train", heldout, _TRAINING.value)),
        passages,
        edges,
        batches=_training_text(store, heldout),
        edited_layers=_EDITED_LAYERS.value,
        method=cast(Carry, _CARRY.value),
        occurrences=_OCCURRENCES.value,
        bystanders=_BYSTANDERS.value,
        seed=_SEED.value,
        on_step=_progress,
    )
    _write(result, out)
    for name, value in result.summary.items():
        print(f"{name:32} {value:8.3f}")
    print(f"\n{out / 'interventions.csv'}")


def _progress(what: str, done: int, total: int) -> None:
    """Prints ten lines a step at most."""
    if done in (0, total) or done * 10 // total > (done - 1) * 10 // total:
        print(f"{what}: {done} of {total}", flush=True)


def _training_text(store: Store, heldout: float) -> Iterator[Batch]:
    """Training documents, or so many contexts from all over them, with progress."""
    total = min(READ, -(-len(store.contexts("train", heldout)) // BATCH))
    for done, batch in enumerate(ordered_batches(store, split="train", heldout=heldout, batch=BATCH, limit=READ), 1):
        _progress("counting which ids stand behind a source", done, total)
        yield batch


def _unseen(store: Store, heldout: float) -> list[Passage]:
    """Held-out passages of documents that no earlier run has read."""
    seen = {passage.document for passage in read_passages(store, "heldout", heldout, _AFTER.value)}
    unseen = [p for p in read_passages(store, "heldout", heldout, _HELDOUT.value) if p.document not in seen]
    if not unseen:
        raise ConfigError(
            f"after={_AFTER.value} leaves nothing of heldout_contexts={_HELDOUT.value}: give more --heldout_contexts, "
            "or a lower --after"
        )
    return unseen


def _strongest(run: Run, store: Store) -> list[Edge]:
    """The delayed edges that explain most on training documents: held-out ones are kept for the measurement."""
    batches = ordered_batches(store, split="train", heldout=run.config.heldout, batch=16, limit=100)
    evidence = gather(run.params, batches)
    if evidence is None:
        raise ExtractError("no training token has its whole history in its context; train with fewer lags")
    ranking = rank(run.params.process, evidence, _COUNT.value)
    return [Edge(edge.source, edge.target, edge.lag, edge.weight) for edge in ranking.delayed]


def _selected(run: Run, path: Path) -> tuple[Params, list[Edge]]:
    """The process that a table lists, and the edges to be tested: see above."""
    rows_kd, columns = run.params.dictionary.decoder_kd, Edge._fields[:3] + ("weight",)
    table = from_csv(path.read_text(encoding="utf-8"), str(path), rows_kd, columns)
    delayed = [edge for edge in table if edge.lag > 0]
    edges = [Edge(*edge[:4]) for edge in delayed]
    between = [edge for edge in edges if edge.source != edge.target][: _COUNT.value]
    tested = {(edge.source, edge.lag) for edge in between}
    own = [edge for edge in edges if edge.source == edge.target and (edge.source, edge.lag) in tested]
    return run.params.replace(process=to_process(delayed, len(rows_kd))), between + own


def _write(result: Study, out: Path) -> None:
    write_text(out / "interventions.csv", to_csv(result.found))
    write_text(out / "interventions.json", to_json(result.summary))
    write_bytes(out / "interventions.png", pictures.png(comparisons.effects(result.found)))


if __name__ == "__main__":
    launch.run(main)
