"""The relations that a trained model found, and what held-out text says about them.

    python -m experiments.relations --workdir=DIR [--store=DIR] [--out=DIR] [--edges=100]

Writes relations.html (one self-contained page), edges.csv, edges.json, summary.json and graph.png.
"""

from pathlib import Path

from absl import flags

from experiments import launch
from tcr_jax.checkpoint import load_run
from tcr_jax.metrics_file import METRICS, read_metrics
from tcr_jax.store import Store

with launch.extra("report"):
    from tcr_jax.relations.report import write_report

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run, as given to experiments.train", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_OUT = flags.DEFINE_string("out", None, "directory of the report (default: WORKDIR/relations)")
_STEP = flags.DEFINE_integer("step", None, "step of the checkpoint to read (default: the latest)")
_EDGES = flags.DEFINE_integer("edges", 100, "relations reported of each kind: delayed, instantaneous, self-loops", 1)
_SUPPORT = flags.DEFINE_integer("support", 10, "held-out joint firings below which an edge is ranked last", 1)
_BATCH = flags.DEFINE_integer("batch", 16, "contexts encoded at a time", 1)
_LIMIT = flags.DEFINE_integer("limit", None, "batches read at most, of held-out text and again for contexts", 2)


def progress(what: str, done: int, total: int) -> None:
    """Prints ten lines a pass at most."""
    if done == total or done * 10 // total > (done - 1) * 10 // total:
        print(f"{what}: {done} of {total} batches", flush=True)


def main() -> None:
    workdir = Path(_WORKDIR.value)
    out = Path(_OUT.value) if _OUT.value else workdir / "relations"
    run = load_run(workdir, _STEP.value)
    for line in run.damaged:
        print(f"warning: {line}; reading the one before", flush=True)
    store = Store.open(_STORE.value or run.config.store)
    metrics = read_metrics(workdir) if (workdir / METRICS).exists() else []
    summary = write_report(
        run,
        store,
        out,
        metrics=metrics,
        edges=_EDGES.value,
        support=_SUPPORT.value,
        batch=_BATCH.value,
        limit=_LIMIT.value,
        on_progress=progress,
    )
    print(f"\nR² of the concepts on {summary['heldout_tokens']:,} held-out tokens")
    for predictor in summary["predictors"]:
        print(f"  {predictor['r2']:+7.3f}  {predictor['name']}: {predictor['meaning']}")
    for title, name in (("Held-out text supports", "supported"), ("It does not show", "unsupported")):
        print(f"\n{title}")
        for sentence in summary[name]:
            print(f"- {sentence}")
    print(f"\nReport: {out / 'relations.html'}")


if __name__ == "__main__":
    launch.run(main)
