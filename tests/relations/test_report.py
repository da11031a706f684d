"""The report as files: written whole, consistent, and plain where there is nothing to say."""

import csv
import dataclasses
import functools
import json
import os
from pathlib import Path

import jax.numpy as jnp
import pytest

from tcr_jax.checkpoint import CheckpointError, Run
from tcr_jax.config import Config
from tcr_jax.loop import train
from tcr_jax.mesh import make_mesh
from tcr_jax.params import Process
from tcr_jax.relations.report import ReportError, write_report
from tcr_jax.store import Store
from tests import programs

FILES = ["edges.csv", "edges.json", "graph.png", "relations.html", "summary.json"]


def test_tables_page_and_summary_agree(run: Run, report: Path) -> None:
    """Every reported edge is in CSV, JSON and page alike; numbers that do not exist are null; nothing else is left."""
    assert sorted(path.name for path in report.iterdir()) == FILES
    edges = json.loads((report / "edges.json").read_text())
    with (report / "edges.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(edges) == 5
    for row, edge in zip(rows, edges, strict=True):
        assert {name: str(value) for name, value in edge.items()} == row
    page = (report / "relations.html").read_text()
    assert all(f'id="edge-{e["kind"]}-{e["lag"]}-{e["source"]}-{e["target"]}"' in page for e in edges)
    summary = json.loads((report / "summary.json").read_text())
    assert [row["name"] for row in summary["predictors"]][:2] == ["zero", "mean"]
    assert summary["step"] == run.step and summary["replication"]["edges"] == 3
    assert (report / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_no_edges_at_all_is_said_plainly(run: Run, store: Store, tmp_path: Path) -> None:
    """A model whose B and M are zero gets a report without pictures of edges; an old picture does not stay."""
    process = run.params.process
    empty = process.replace(b_lkk=jnp.zeros_like(process.b_lkk), m_kk=jnp.zeros_like(process.m_kk))
    (tmp_path / "graph.png").write_bytes(b"old")
    summary = write_report(run._replace(params=run.params.replace(process=empty)), store, tmp_path)
    assert summary["edges"] == 0 and summary["replication"] is None
    page = (tmp_path / "relations.html").read_text()
    assert "every delayed effect between different concepts is zero" in page
    assert json.loads((tmp_path / "edges.json").read_text()) == []
    assert (tmp_path / "edges.csv").read_text().startswith("kind,source,target,lag,")
    assert not (tmp_path / "graph.png").exists()


@pytest.mark.parametrize(("missing", "said"), [("b_lkk", "without delayed effects"), ("m_kk", "without instantaneous")])
def test_a_part_not_trained_is_said_plainly(run: Run, store: Store, tmp_path: Path, missing: str, said: str) -> None:
    """A model trained without B or without M has no such edges, and the page says why."""
    config = dataclasses.replace(run.config, mode="instantaneous" if missing == "b_lkk" else "temporal")
    process = dataclasses.replace(run.params.process, **{missing: None})
    write_report(run._replace(config=config, params=run.params.replace(process=process)), store, tmp_path)
    assert said in (tmp_path / "relations.html").read_text()


def test_an_identity_code_is_reported(run: Run, store: Store, tmp_path: Path) -> None:
    """Where every concept fires at every token, all is reported as ever: both signs, and lift about 1 throughout."""
    dictionary = run.params.dictionary.replace(activation="identity")
    write_report(run._replace(params=run.params.replace(dictionary=dictionary)), store, tmp_path)
    lifts = [edge["lift"] for edge in json.loads((tmp_path / "edges.json").read_text())]
    assert lifts == pytest.approx([1.0] * len(lifts), abs=0.05)
    page = (tmp_path / "relations.html").read_text()
    assert 'class="positive' in page and 'class="negative' in page


def test_no_full_history_is_an_error_with_a_mend(run: Run, store: Store, tmp_path: Path) -> None:
    """Where documents are shorter than the lags nothing can be measured, and nothing is written."""
    lags = 15
    process = run.params.process.replace(b_lkk=jnp.zeros((lags, *run.params.process.b_lkk.shape[1:])))
    config = dataclasses.replace(run.config, lags=lags)
    long = run._replace(config=config, params=run.params.replace(process=process))
    with pytest.raises(ReportError, match="no held-out token has 15 earlier tokens.*fewer lags"):
        write_report(long, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dictionary_alone_has_no_relations_to_report(run: Run, store: Store, tmp_path: Path) -> None:
    """A sparse autoencoder is refused in words, and nothing is written."""
    alone = run._replace(
        config=dataclasses.replace(run.config, mode="dictionary", innovation_weight=0.0),
        params=run.params.replace(process=Process(None, None, None)),
    )
    with pytest.raises(ReportError, match="mode=dictionary and has no relations; report a run of another mode"):
        write_report(alone, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_store_of_another_width_is_an_error(run: Run, store: Store, tmp_path: Path) -> None:
    """The message names both widths."""
    wider = run._replace(source=dataclasses.replace(run.source, width=99))
    with pytest.raises(CheckpointError, match="width: 99 -> 12"):
        write_report(wider, store, tmp_path / "out")


def test_the_launcher_reports_a_trained_run(store_directory: Path, tmp_path: Path) -> None:
    """From workdir to report in one command; a workdir without a run is named, without a traceback."""
    config = Config(store=str(store_directory), latents=8, topk=3, lags=2, steps=2, batch=8, heldout=0.4)
    train(config, tmp_path / "run", make_mesh(config))
    launch = functools.partial(programs.run, dict(os.environ), "-m", "experiments.relations")
    done = launch(f"--workdir={tmp_path / 'run'}", "--edges=3")
    assert done.returncode == 0, done.stderr
    assert "checkpoint_manager.py" not in done.stderr
    assert "held-out tokens" in done.stdout and "It does not show" in done.stdout
    assert (tmp_path / "run" / "relations" / "relations.html").exists()
    failed = launch(f"--workdir={tmp_path / 'nothing'}")
    assert failed.returncode == 1
    assert "nothing holds no run" in failed.stderr and "Traceback" not in failed.stderr
