"""The launcher of all yardsticks."""

import json
from pathlib import Path

import pytest

from tcr_jax import Config
from tcr_jax.loop import train
from tcr_jax.mesh import make_mesh
from tests import programs


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory, small_store: Path) -> Path:
    """A run of two steps."""
    directory = tmp_path_factory.mktemp("run")
    config = Config(store=str(small_store), latents=16, topk=4, lags=1, batch=8, steps=2, decay=0.5)
    train(config, directory, make_mesh(config))
    return directory


def test_yardsticks_are_measured_once(workdir: Path, tmp_path: Path, cache: Path) -> None:
    """A run is as its own twin; what the file holds is kept; one that fails does not take the others along."""
    out = tmp_path / "evaluation.json"

    def evaluate(*flags: str) -> tuple[int, str, str]:
        command = ("-m", "experiments.evaluate", f"--workdir={workdir}", f"--out={out}", *flags)
        done = programs.run(programs.environment(cache), *command)
        return done.returncode, done.stdout, done.stderr

    others = f"--others={workdir},{workdir}"
    status, text, errors = evaluate("--only=dictionary,probing,recurrence,selection", others, "--labelled=nowhere")
    assert status == 1 and "not measured:\nprobing: -m experiments.probing" in errors
    found = json.loads(out.read_text())
    assert set(found) == {"dictionary", "recurrence", "selection"}
    assert 0 < found["dictionary"]["fvu"] < 2 and found["dictionary"]["l0"] <= 4
    assert found["recurrence"][str(workdir)]["pw_mcc"] == pytest.approx(1)
    chosen = found["selection"][f"chosen by {workdir}, judged by {workdir}"]["over 0.9"]
    assert chosen == pytest.approx({"share": 1, "pw_mcc": 1, "over_7": 1})
    status, text, _ = evaluate("--only=dictionary")
    assert status == 0 and text.startswith(f"dictionary: kept from {out}")
    assert "two other runs" in evaluate("--only=selection", f"--out={tmp_path / 'other.json'}")[2]
    assert evaluate("--only=fvu")[2].startswith("error: only='fvu' is no yardstick; choose of dictionary, prediction, ")
