"""From certified edges and interventions to a page, and what the table of edges says against a count by hand."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from tcr_jax import Config, encode
from tcr_jax.checkpoint import load_run
from tcr_jax.intervene.edges import Intervention
from tcr_jax.intervene.table import to_csv
from tcr_jax.loop import train
from tcr_jax.mesh import make_mesh
from tcr_jax.relations.markdown import BEGIN, END
from tcr_jax.store import Store, is_heldout
from tests import programs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_store: Path, cache: Path) -> Path:
    """A run of two steps and its certified edges of both kinds."""
    directory = tmp_path_factory.mktemp("findings")
    config = Config(store=str(small_store), latents=16, topk=4, lags=1, batch=8, steps=2, decay=0.5)
    train(config, directory / "run", make_mesh(config))
    for name, flag in {"delayed": "--lags=2", "present": "--instantaneous"}.items():
        flags = (flag, "--folds=2", "--t=0.5", "--first_t=1", "--effect=0.01", "--within=all")
        command = ("-m", "experiments.certify", f"--workdir={directory / 'run'}", f"--out={directory / name}.csv")
        done = programs.run(programs.environment(cache), *command, *flags)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("selected on one half") == 2
    names, *lines = (directory / "delayed.csv").read_text().splitlines()
    turned = [line.replace(",0.", ",-0.", 1) for line in lines[1::3]]  # there too, but some with the other sign
    (directory / "beyond.csv").write_text("\n".join([names, *lines[::3], *turned]) + "\n")
    return directory


def rows(path: Path) -> list[dict[str, float]]:
    table = csv.DictReader(path.read_text().splitlines())
    return [{name: float(value) for name, value in row.items() if name != "run"} for row in table]


def test_delayed_edges_are_slopes_of_both_halves(folder: Path, small_store: Path) -> None:
    """The first rows, of each lag, against least squares on each half of the training documents, counted by hand."""
    run, store = load_run(folder / "run"), Store.open(small_store)
    contexts = [store[number] for number in range(len(store))]
    z_btk = np.asarray(encode(run.params.dictionary, np.stack([c.activations_td for c in contexts])))
    document_bt = np.stack([np.where(c.kept_t, c.document_t, -1) for c in contexts])
    train_bt = (document_bt >= 0) & ~is_heldout(np.maximum(document_bt, 0), run.config.heldout)
    second_bt = is_heldout(np.maximum(document_bt, 0), (1 + run.config.heldout) / 2)
    strength = [np.abs(z[z != 0]).mean() if z.any() else 0 for z in np.moveaxis(z_btk[train_bt], 1, 0)]
    found = rows(folder / "delayed.csv")
    assert {row["lag"] for row in found} == {1, 2}
    for row in [*found[:5], next(row for row in found if row["lag"] == 2)]:
        source, target, lag = (int(row[name]) for name in ("source", "target", "lag"))
        halves = []
        for half_bt in (train_bt & ~second_bt, train_bt & second_bt):
            same_bt = half_bt[:, 2:] & half_bt[:, 1:-1] & half_bt[:, :-2]
            same_bt &= (document_bt[:, 2:] == document_bt[:, 1:-1]) & (document_bt[:, 2:] == document_bt[:, :-2])
            past_n = z_btk[:, 2 - lag : z_btk.shape[1] - lag, source][same_bt]
            halves.append(np.polyfit(past_n, z_btk[:, 2:, target][same_bt], 1)[0])
        assert row["weight"] == pytest.approx(np.mean(halves), rel=2e-2)
        assert np.sign(row["t_first"]) == np.sign(row["t_second"]) == np.sign(row["weight"])
        predicted = abs(row["weight"]) * strength[source] / z_btk[train_bt][:, target].std()
        assert row["predicted"] == pytest.approx(predicted, rel=1e-2)


def test_instantaneous_edges_have_one_direction(folder: Path) -> None:
    """All within the token, none back."""
    found = {(row["source"], row["target"]) for row in rows(folder / "present.csv")}
    assert found and all(row["lag"] == 0 for row in rows(folder / "present.csv"))
    assert not {(target, source) for source, target in found} & found


def test_page(folder: Path, small_store: Path, tmp_path: Path, cache: Path) -> None:
    """Tables, contexts and pictures between two lines; what stands around them stays, twice over."""
    delayed = [row for row in rows(folder / "delayed.csv") if row["source"] != row["target"]]
    present, beyond = rows(folder / "present.csv"), rows(folder / "beyond.csv")
    tested = [
        Intervention(int(r["source"]), int(r["target"]), int(r["lag"]), r["weight"], -1, -r["weight"], 0, -9, 1, 64)
        for r in delayed[:3]
    ]
    (tmp_path / "tested.csv").write_text(to_csv({(edit, "edges"): tested for edit in ("removal", "addition")}))
    page = tmp_path / "page.md"
    page.write_text("# By hand\n")
    files = {"delayed": "delayed", "instantaneous": "present", "beyond": "beyond"}
    flags = [f"--{name}={folder / file}.csv" for name, file in files.items()]
    flags += [f"--interventions={tmp_path / 'tested.csv'}", f"--page={page}", "--count=4", "--limit=40"]
    command = ("-m", "experiments.findings", f"--workdir={folder / 'run'}", f"--store={small_store}", *flags)
    for _ in range(2):
        done = programs.run(programs.environment(cache), *command)
        assert done.returncode == 0, done.stderr
        text = page.read_text()
        assert text.startswith("# By hand\n") and text.count(BEGIN) == text.count(END) == 1
    key = ("source", "target", "lag")
    kept = {tuple(r[name] for name in key): r["weight"] for r in beyond}
    stay = [kept.get(tuple(r[name] for name in key), 0) * r["weight"] > 0 for r in delayed]
    assert f"Of {len(delayed):,} certified between two concepts; {sum(stay):,} of these stay" in text
    assert (
        f"Of the 4 shown, {sum(stay[:4])} stay, 3 were tested, and in {sum(r['weight'] > 0 for r in delayed[:3])}"
        in text
    )
    assert f"Of {len(present):,} certified within the token" in text
    assert text.count("<code>") >= 8 and text.count("not tested") == 2
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"effects.png", "signs_by_rank.png"}
    shutil.rmtree(tmp_path / "page")
    swapped = [flag.replace("present.csv", "delayed.csv") for flag in command]
    done = programs.run(programs.environment(cache), *swapped)
    assert done.returncode == 1 and f"{folder / 'delayed.csv'}: has edges of earlier tokens" in done.stderr
    done = programs.run(programs.environment(cache), *command, f"--page={tmp_path / 'page'}")
    assert done.returncode == 1 and "has no ending" in done.stderr and not (tmp_path / "page").exists()
