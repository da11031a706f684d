"""The launchers of the hurdle process and of stability, from a store to figures."""

import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tcr_jax import Config
from tcr_jax.checkpoint import load_run
from tcr_jax.loop import train
from tcr_jax.mesh import make_mesh
from tcr_jax.store import Source, import_arrays
from tcr_jax.yardsticks.edge_table import digest
from tests import programs


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory, small_store: Path) -> Path:
    """A run of two steps."""
    directory = tmp_path_factory.mktemp("run")
    config = Config(store=str(small_store), latents=16, topk=4, lags=1, batch=8, steps=2, decay=0.5)
    train(config, directory, make_mesh(config))
    return directory


def test_hurdle(workdir: Path, tmp_path: Path, cache: Path) -> None:
    """A row for each control and each model asked for, with gains and with how much of B and M is used."""
    out = tmp_path / "rows.json"
    flags = ("--models=identity,own,both", "--steps=5", "--refit_steps=5", "--lags=2", "--targets=8", f"--out={out}")
    done = programs.run(programs.environment(cache), "-m", "experiments.hurdle", f"--workdir={workdir}", *flags)
    assert done.returncode == 0, done.stderr
    rows = {row["model"]: row for row in json.loads(out.read_text())}
    assert list(rows) == ["previous token", "current token", "bigram", "own", "both"]
    assert 0 < rows["own"]["b_fires"] < 0.07 and rows["own"]["m_fires"] == 0 < rows["both"]["m_fires"] < 0.5
    assert all(set(row["gain"]["all"]) == {"fires", "sign", "size"} for row in rows.values())
    again = ("--models=own", "--parts=size", *flags[1:])
    done = programs.run(programs.environment(cache), "-m", "experiments.hurdle", f"--workdir={workdir}", *again)
    assert done.returncode == 0, done.stderr
    *kept, own = json.loads(out.read_text())  # rows of other models stay; of a part that was not fitted nothing is said
    assert kept == [row for name, row in rows.items() if name != "own"]
    assert own["model"] == "own" and own["b_size"] > 0 and "b_fires" not in own


def test_stability(small_store: Path, tmp_path: Path, cache: Path) -> None:
    """Both kinds of fit at every threshold; counts that fit together."""
    out = tmp_path / "figures.json"
    flags = (
        "--latents=4",
        "--lags=1",
        "--bootstraps=1",
        "--choose=2",
        "--confirm=2",
        "--effect=0.01",
        "--stable=0",
        f"--out={out}",
    )
    done = programs.run(programs.environment(cache), "-m", "experiments.stability", f"--store={small_store}", *flags)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert 0 < figures["mean_correlation"] <= 1
    assert {row["fit"].split(",")[0] for row in figures["certificates"]} == {"plain", "within bigrams"}
    for row in figures["certificates"]:
        assert row["chosen"] >= row["comparable"] >= row["same_sign"] >= row["certified"]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a step on activations of another width and layer."""
    directory = tmp_path_factory.mktemp("wide")
    source = Source(model="synthetic", layer=2, width=6, context=8, dtype="float32")
    x_btd, token_bt = np.random.default_rng(0).normal(size=(20, 8, 6)).astype(np.float32), np.zeros((20, 8), int)
    import_arrays(directory / "store", source, x_btd, token_bt, skip_first=0, outlier_norm=np.inf)
    config = Config(store=str(directory / "store"), latents=16, topk=4, lags=1, batch=8, steps=2, decay=0.5)
    train(config, directory / "run", make_mesh(config))
    return directory / "run"


def test_stability_of_runs(workdir: Path, wide: Path, tmp_path: Path, cache: Path) -> None:
    """A share of nothing is null, as JSON has no NaN; a run of other activations is refused by its directory."""
    out, environment = tmp_path / "new" / "figures.json", programs.environment(cache)
    command = ("-m", "experiments.stability", f"--out={out}")
    done = programs.run(environment, *command, f"--runs={workdir},{workdir}")
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text(), parse_constant=pytest.fail)["pw_mcc"] == pytest.approx(1)
    done = programs.run(environment, *command, f"--runs={workdir},{wide}")
    assert done.returncode == 1 and f"the activations of {wide} are not those" in done.stderr
    assert "layer: 1 -> 2; width: 16 -> 6" in done.stderr


def test_evaluate_with_others(workdir: Path, wide: Path, tmp_path: Path, cache: Path) -> None:
    """Figures are of the other runs that are named; what cannot be measured is said, and the others go on."""
    out, environment = tmp_path / "evaluation.json", programs.environment(cache)

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        return programs.run(environment, "-m", "experiments.evaluate", f"--workdir={workdir}", f"--out={out}", *flags)

    done = run("--only=recurrence")
    assert done.returncode == 1 and "recurrence has no other run: name one with --others=DIR2" in done.stderr
    out.write_text('{"recurrence": {"seconds": 1.0}, "dictionary": {"fvu": 0.5}}')
    done = run("--only=recurrence,dictionary", f"--others={workdir}")
    assert done.returncode == 0 and f"dictionary: kept from {out}" in done.stdout, done.stderr
    assert json.loads(out.read_text())["recurrence"][str(workdir)]["pw_mcc"] == pytest.approx(1)
    out.unlink()
    done = run("--only=prediction,recurrence,dictionary", "--lags=30", f"--others={wide}")
    assert done.returncode == 1 and list(json.loads(out.read_text())) == ["dictionary"]
    assert "\nprediction: " in done.stderr and f"\nrecurrence: the activations of {wide} are not those" in done.stderr


T = ("t_first", "t_second")


def test_certify(workdir: Path, tmp_path: Path, cache: Path) -> None:
    """Clearer edges first, and of them the largest predicted effect; each with one sign in both halves, and the run."""
    out = tmp_path / "new" / "edges.csv"
    flags = ("--lags=2", "--folds=2", "--t=0.5", "--first_t=1", "--effect=0.01", "--within=all", f"--out={out}")
    done = programs.run(programs.environment(cache), "-m", "experiments.certify", f"--workdir={workdir}", *flags)
    assert done.returncode == 0, done.stderr
    assert "selected on one half" in done.stdout
    rows = list(csv.DictReader(out.read_text().splitlines()))
    decoder_kd = load_run(workdir).params.dictionary.decoder_kd
    assert {row["run"] for row in rows} == {digest(decoder_kd)} != {digest(decoder_kd[::-1])}
    order = [(min(abs(float(row[t])) for t in T) > 1, float(row["predicted"])) for row in rows]
    assert order == sorted(order, reverse=True) and order[0][0] > order[-1][0]
    for row in rows:
        weight, *t = (float(row[name]) for name in ("weight", *T))
        assert 1 <= int(row["lag"]) <= 2 and all(value * np.sign(weight) > 0.5 for value in t)


def test_recurrence(workdir: Path, wide: Path, tmp_path: Path, cache: Path) -> None:
    """A run's own edges all come back; a table too few, and a run or the table of a run of others, are named."""
    out, environment = tmp_path / "edges.csv", programs.environment(cache)
    header = "source,target,lag,weight,predicted,t_first,t_second\n"
    out.write_text(header + "1,2,1,0.5,3,9,9\n4,4,1,0.9,2,9,9\n3,2,1,-0.5,1,9,9\n")
    command = ("-m", "experiments.recurrence", f"--workdir={workdir}", f"--edges={out}", f"--workdir={workdir}")
    done = programs.run(environment, *command, f"--edges={out}", "--first=1")
    assert done.returncode == 0, done.stderr
    _, everything, first = (line.split() for line in done.stdout.splitlines())
    assert everything[:5] == ["all", "2", "100.0%", "100.0%", "(100.0%)"] and first[:3] == ["first", "1", "1"]
    assert float(everything[5].rstrip("%")) < 5
    done = programs.run(environment, *command)
    assert done.returncode == 1 and "2 --workdir and 1 --edges: give two runs or more" in done.stderr
    other = tmp_path / "other.csv"
    other.write_text(header + "1,2,1,0.5,3,9,9\n100000,2,1,0.5,3,9,9\n")
    done = programs.run(environment, *command, f"--edges={other}")
    assert done.returncode == 1 and f"{other}, line 3: joins concepts 100000 and 2" in done.stderr
    done = programs.run(environment, *command[:-1], f"--workdir={wide}", f"--edges={out}")
    assert done.returncode == 1 and f"the activations of {wide} are not those" in done.stderr


def test_intervene_reads_first(workdir: Path, tmp_path: Path, cache: Path) -> None:
    """Before the language model is there: edges of other concepts, and contexts of which none is left."""
    table, environment = tmp_path / "edges.csv", programs.environment(cache)
    command = ("-m", "experiments.intervene", f"--workdir={workdir}", f"--edges={table}", f"--out={tmp_path}")
    table.write_text("source,target,lag,weight\n1,2,1,0.5\n1,16,1,0.5\n")
    done = programs.run(environment, *command)
    assert done.returncode == 1 and f"{table}, line 3: joins concepts 1 and 16 where the" in done.stderr
    table.write_text("source,target,lag,weight\n1,2,1,0.5\n")
    done = programs.run(environment, *command, "--after=400", "--heldout_contexts=400")
    assert done.returncode == 1 and "after=400 leaves nothing of heldout_contexts=400: give more" in done.stderr
