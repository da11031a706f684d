"""Fits the process in closed form to the frozen dictionary of a trained run, and prints what it predicts.

    python -m experiments.process_fit --workdir=DIR --out=DIR [--store=DIR] [--lags=3] [--parents=32] [--ladder]

Writes a run of its own to --out: it loads, reports and trains on like any other. With --ladder, prediction.json too.
"""

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from absl import flags

from experiments import launch
from tcr_jax.checkpoint import Run, load_run
from tcr_jax.closed_form import collect_moments, fit_decoded, fit_moments
from tcr_jax.closed_form.fit import present_order
from tcr_jax.config import Config
from tcr_jax.files import write_text
from tcr_jax.fitted_run import check_free, save_fitted
from tcr_jax.params import Process
from tcr_jax.store import Batch, Store, ordered_batches
from tcr_jax.store.split import Split
from tcr_jax.yardsticks.folders import domains
from tcr_jax.yardsticks.prediction import from_process, score
from tcr_jax.yardsticks.prediction_ladder import prediction_ladder

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run whose dictionary is taken", required=True)
_OUT = flags.DEFINE_string("out", None, "directory of the run to write; must not hold one", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_LAGS = flags.DEFINE_integer("lags", 3, "tokens back that a delayed effect may reach", 1)
_PARENTS = flags.DEFINE_integer("parents", 32, "effects a concept receives at most; 0 for all of them", 0)
_RIDGE = flags.DEFINE_float("ridge", 0.03, "penalty of a weight, as a share of its source's variance", 0)
_PRESENT = flags.DEFINE_bool("instantaneous", True, "whether there is M, in the order by conditional variance")
_DECODED = flags.DEFINE_bool("decoded", False, "fit B to the decoded prediction of x (no M; parents on average)")
_LADDER = flags.DEFINE_bool("ladder", False, "score every rung and control too")
_DISTANCE = flags.DEFINE_integer("distance", 100, "tokens back to the distant past, for --ladder", 1)
_BATCH = flags.DEFINE_integer("batch", 32, "contexts encoded at a time", 1)


def fit(run: Run, batches: Iterator[Batch]) -> Process:
    """The process that the flags ask for."""
    moments = collect_moments(run.params.dictionary, batches, _LAGS.value, decoded=_DECODED.value)
    if _DECODED.value:
        return fit_decoded(run.params.dictionary, moments, parents=_PARENTS.value, ridge=_RIDGE.value)
    rank_k = present_order(moments) if _PRESENT.value else None
    return fit_moments(moments, ridge=_RIDGE.value, parents=_PARENTS.value or None, rank_k=rank_k)


def save(run: Run, process: Process, store: Store, directory: Path, out: Path) -> None:
    """A run of the same step with the dictionary and the new process."""
    config = dataclasses.replace(
        run.config,
        store=str(directory),
        mode="temporal" if process.m_kk is None else "both",
        lags=_LAGS.value,
        intercept=True,
        acyclicity="dagma",
        innovation_weight=run.config.innovation_weight or Config().innovation_weight,
        model_shards=1,
        steps=max(run.step, run.config.steps),
    )
    save_fitted(run.params.replace(process=process), config, store, out, step=run.step)


def main() -> None:
    out = Path(_OUT.value)
    run = load_run(_WORKDIR.value)
    check_free(out, run.step)
    directory = Path(_STORE.value or run.config.store)
    store = Store.open(directory)
    run.check_source(store.description.source)

    def batches(split: Split) -> Iterator[Batch]:
        return ordered_batches(store, split=split, heldout=run.config.heldout, batch=_BATCH.value)

    start = time.perf_counter()
    process = jax.block_until_ready(fit(run, batches("train")))
    print(f"fitted in {time.perf_counter() - start:.1f} s on {store.tokens('train', run.config.heldout):,} tokens")
    dictionary = run.params.dictionary
    if _LADDER.value:
        rungs = {"fitted": process} | ({} if run.config.mode == "dictionary" else {"as trained": run.params.process})
        figures = prediction_ladder(
            dictionary,
            lambda: batches("train"),
            lambda: batches("heldout"),
            lags=_LAGS.value,
            parents=_PARENTS.value or 32,
            ridge=_RIDGE.value,
            distance=_DISTANCE.value,
            processes=rungs,
            domains=domains(store.documents),
        )
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "prediction.json", json.dumps(figures, indent=1) + "\n")
    else:
        predictors = {"fitted": from_process(process)}
        figures = score(dictionary, predictors, batches("heldout"), _LAGS.value, domains(store.documents))
    save(run, process, store, directory, out)  # last: a call that fails or is stopped can be given again
    for line in table(figures):
        print(line)


def table(figures: dict[str, float]) -> list[str]:
    """R^2 of z and of x by predictor, pooled."""
    names = [name.split("/")[1] for name in figures if name.startswith("all/") and name.endswith("/r2_z")]
    lines = [f"R² on {figures['all/tokens']:,.0f} held-out tokens", f"{'':24}     z      x"]
    return lines + [
        f"{name:24} {figures[f'all/{name}/r2_z']:6.3f} {figures[f'all/{name}/r2_x']:6.3f}" for name in names
    ]


if __name__ == "__main__":
    launch.run(main)
