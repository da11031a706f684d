"""The relations report of a trained run: numbers from held-out text, contexts, pictures, tables and the page."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tcr_jax.acyclicity import is_acyclic
from tcr_jax.checkpoint import Run
from tcr_jax.files import write_bytes, write_text
from tcr_jax.relations import pictures, tables, verdict
from tcr_jax.relations.baselines import absolute_ratio, lag_losses, predictors, variance
from tcr_jax.relations.contexts import Contexts, collect
from tcr_jax.relations.edges import Ranking, rank, shares
from tcr_jax.relations.evidence import Evidence, gather, merge
from tcr_jax.relations.graph import graph
from tcr_jax.relations.page import Writer, render
from tcr_jax.store import Store, ordered_batches


class ReportError(ValueError):
    """A report that cannot be made: the message names the culprit and the mend."""


def write_report(
    run: Run,
    store: Store,
    out: Path,
    *,
    metrics: Sequence[Mapping[str, Any]] = (),
    edges: int = 100,
    support: int = 10,
    batch: int = 16,
    limit: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Measures a run's relations on held-out documents and writes the report.

    Args:
      run: from `load_run`.
      store: activations of the kind the run was trained on; its documents are split as in training.
      out: directory of relations.html, edges.csv, edges.json, summary.json and graph.png, each replaced as a whole.
      metrics: lines of the run's metrics.jsonl, for the training curves.
      edges: relations reported of each kind: delayed, instantaneous, self-loops.
      support: joint firings from which an edge counts as supported.
      batch: contexts encoded at a time.
      limit: at most this many batches are read of the held-out text, and as many again for contexts; None: all.
      on_progress: called with what is being done, batches done, and batches in all.

    Returns:
      The headline numbers, as in summary.json.

    Raises:
      CheckpointError: the store's activations are not of the kind that the run was trained on.
      StoreError: no document of the store is held out.
      ReportError: the run has no process, or no held-out token can be scored.
    """
    if run.config.mode == "dictionary":
        raise ReportError("the run was trained with mode=dictionary and has no relations; report a run of another mode")
    params, heldout = run.params, run.config.heldout
    run.check_source(store.description.source)
    progress = _Progress(on_progress)
    first, second = _halves(run, store, batch, limit, progress)
    evidence = merge(first, second)
    if evidence is None:
        raise ReportError(
            f"no held-out token has {run.config.delays} earlier tokens of its own document in its context, so nothing "
            "can be measured: extract longer or more documents, or train with fewer lags or a larger heldout"
        )
    ranking = rank(params.process, evidence, edges, support)
    repeated = None
    if first is not None and second is not None:
        chosen = rank(params.process, first, edges, support)
        chosen_apart = chosen.delayed + chosen.instantaneous
        repeated = verdict.replication(chosen_apart, shares(params.process, second, chosen_apart))
    records = store.contexts("all", heldout)
    if limit is not None and len(records) > limit * batch:
        records = records[np.linspace(0, len(records), limit * batch, endpoint=False).astype(int)]
    progress.start("contexts", math.ceil(len(records) / batch))
    contexts = collect(params.dictionary, ranking.edges, store, records, batch=batch, on_batch=progress.advance)
    summary = _summarise(run, store, evidence, ranking, contexts, repeated, support)
    writer = Writer(store.pieces, heldout)
    _write(out, summary, ranking, contexts, evidence, metrics, writer)
    return summary


class _Progress:
    """Counts batches and tells the callback."""

    def __init__(self, callback: Callable[[str, int, int], None] | None) -> None:
        self.callback, self.what, self.done, self.total = callback, "", 0, 0

    def start(self, what: str, total: int) -> None:
        self.what, self.done, self.total = what, 0, total

    def advance(self) -> None:
        self.done += 1
        if self.callback is not None:
            self.callback(self.what, self.done, self.total)


def _halves(
    run: Run, store: Store, batch: int, limit: int | None, progress: _Progress
) -> tuple[Evidence | None, Evidence | None]:
    """Evidence of the first and of the second half of the held-out text, so that one can check the other."""
    heldout = run.config.heldout
    total = math.ceil(len(store.contexts("heldout", heldout)) / batch)
    total = total if limit is None else min(total, limit)
    progress.start("held-out text", total)
    batches = ordered_batches(store, split="heldout", heldout=heldout, batch=batch, limit=limit)
    first = gather(run.params, islice(batches, total // 2), progress.advance)
    return first, gather(run.params, batches, progress.advance)


def _summarise(
    run: Run,
    store: Store,
    evidence: Evidence,
    ranking: Ranking,
    contexts: Contexts,
    repeated: verdict.Replication | None,
    support: int,
) -> dict[str, Any]:
    source, process = store.description.source, run.params.process
    losses = lag_losses(evidence)
    delayed = [strength for strength in ranking.strengths if strength.lag]
    instantaneous = [strength for strength in ranking.strengths if not strength.lag]
    summary: dict[str, Any] = {
        "model": source.model,
        "revision": source.revision,
        "layer": source.layer,
        "latents": run.config.latents,
        "lags": run.config.delays,
        "step": run.step,
        "tokens": store.description.tokens,
        "heldout_tokens": int(evidence.tokens),
        "predictors": [predictor._asdict() for predictor in predictors(evidence)],
        "absolute_ratio": absolute_ratio(evidence),
        "nonzero_b": 1 - float(np.mean([s.zeros for s in delayed])) if delayed else None,
        "nonzero_m": 1 - instantaneous[0].zeros if instantaneous else None,
        "acyclic": None if process.m_kk is None else is_acyclic(process.m_kk),
        "lag_profile": [{**dataclasses.asdict(s), "r2_lost": losses[s.lag]} for s in ranking.strengths],
        "edges_delayed": sum(s.count for s in delayed),
        "edges_instantaneous": sum(s.count for s in instantaneous),
        "edges": sum(s.count for s in ranking.strengths),
        "unseen": ranking.unseen,
        "support": support,
        "replication": None if repeated is None else repeated._asdict(),
    }
    summary["supported"] = verdict.supported(summary, ranking.edges, contexts.examples)
    summary["unsupported"] = verdict.unsupported(summary, ranking.edges, contexts.examples)
    return summary


def _write(
    out: Path,
    summary: Mapping[str, Any],
    ranking: Ranking,
    contexts: Contexts,
    evidence: Evidence,
    metrics: Sequence[Mapping[str, Any]],
    writer: Writer,
) -> None:
    tokens = int(evidence.tokens)
    rate_k, std_k = evidence.fires_k / tokens, np.sqrt(variance(evidence.z, tokens))
    statistics = {k: {"rate": float(rate_k[k]), "std": float(std_k[k])} for k in contexts.concepts}
    labels = {index: writer.label(concept) for index, concept in contexts.concepts.items()}
    losses = {lag["lag"]: lag["r2_lost"] for lag in summary["lag_profile"]}
    graph_figure = graph(ranking.edges, contexts, labels)
    drawn = {
        "graph": (graph_figure, "Graph of the strongest relations"),
        "lags": (pictures.lags(ranking.strengths, losses), "Weight and worth of each lag"),
        "curves": (pictures.curves(metrics), "Training curves"),
    }
    svgs = {name: pictures.svg(figure, name, title) if figure else "" for name, (figure, title) in drawn.items()}
    table = tables.rows(ranking.edges, contexts, labels, writer)
    out.mkdir(parents=True, exist_ok=True)
    if graph_figure is None:
        (out / "graph.png").unlink(missing_ok=True)
    else:
        write_bytes(out / "graph.png", pictures.png(graph_figure))
    write_text(out / "edges.csv", tables.to_csv(table))
    write_text(out / "edges.json", tables.to_json(table))
    write_text(out / "summary.json", tables.to_json(summary))
    page = render(summary, ranking.edges, contexts, labels, statistics, svgs, writer)
    write_text(out / "relations.html", page)
