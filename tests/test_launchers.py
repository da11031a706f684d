"""What all launchers have in common: help, and errors that a user can mend."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tcr_jax import Config
from tcr_jax.extract.config import ExtractConfig
from tests import programs

# Runs the launchers that it is told of on stdin, each in a fork: importing once saves seconds.
FORKS = """
import json, os, runpy, sys
import experiments.launch
for line in sys.stdin:
    out, missing, name, *flags = json.loads(line)
    if not os.fork():
        os.dup2(os.open(out, os.O_CREAT | os.O_WRONLY), 1)
        os.dup2(1, 2)
        sys.modules.update(dict.fromkeys(missing))
        sys.argv = [name, *flags]
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[int, str]]]:
    """`launch(NAME, FLAG...)` is the exit status and the output of `python -m experiments.NAME FLAG...`."""
    directory = tmp_path_factory.mktemp("output")
    with programs.start(dict(os.environ), "-c", FORKS) as process:

        def launch(*command: str, missing: tuple[str, ...] = ()) -> tuple[int, str]:
            out = directory / str(len(list(directory.iterdir())))
            print(json.dumps([str(out), missing, *command]), file=process.stdin, flush=True)
            return int(process.stdout.readline()), out.read_text()

        yield launch
        process.stdin.close()


@pytest.mark.parametrize(
    ("name", "config"),
    [*dict.fromkeys(("train", "benchmark"), Config).items(), ("extract", ExtractConfig)]
    + [(name, None) for name in ("import_activations", "relations", "quickstart")],
)
def test_help_begins_with_an_example_and_has_every_flag(launch: Callable, name: str, config: type | None) -> None:
    """`--help` shows what the launcher is for, a command to start from, and every field of its configuration."""
    _, text = launch(name, "--help")
    assert text.index(f"\n    python -m experiments.{name} ") < text.index("\nflags:")
    for field in dataclasses.fields(config) if config else ():
        assert f"\n  --{'[no]' * (field.type is bool)}{field.name}: " in text


def test_missing_flags_are_named(launch: Callable) -> None:
    """All required flags that are not given are named in one line, and so is one that does not exist."""
    line = "error: --activations is missing; --tokens is missing; --out is missing; --model is missing; "
    assert launch("import_activations", "--layer=3") == (1, line + "--help lists the flags\n")
    assert launch("train", "--lagz=3") == (
        1,
        "error: Unknown command line flag 'lagz'. Did you mean: lags ?; --help lists the flags\n",
    )
    assert launch("train", "--workdir=run", "lags=3")[1].startswith("error: lags=3: not a flag; flags look like --name")
    assert launch("train", "--workdir=run")[1].startswith("error: --store is missing: give the directory")


@pytest.mark.parametrize(
    ("module", "extra", "command"),
    [
        ("matplotlib", "report", ("relations", "--workdir=run")),
        ("torch", "extract", ("extract", "--out=store")),
        ("tensorboardX", "tensorboard", ("train", "--store=store", "--workdir=run", "--tensorboard")),
    ],
)
def test_a_missing_extra_is_named(launch: Callable, module: str, extra: str, command: tuple[str, ...]) -> None:
    """Where an optional package is missing, one line says what to install."""
    expected = f"error: the package {module} is missing; pip install 'tcr_jax[{extra}]'\n"
    assert launch(*command, missing=(module,)) == (1, expected)


def test_flags_go_before_the_file(launch: Callable, tmp_path: Path) -> None:
    """A saved configuration is started from, a flag replaces its field, and a damaged file is named."""
    path = tmp_path / "config.json"
    path.write_text(Config(topk=5).to_json())
    status, text = launch("train", "--workdir=run", f"--config={path}", "--latents=4")
    assert (status, text) == (1, "error: topk=5 is more than latents=4; lower topk or add latents\n")
    path.write_text(path.read_text()[:-20])
    assert launch("train", "--workdir=run", f"--config={path}")[1].startswith(f"error: {path}: not the JSON object of")


def test_an_error_with_a_mend_has_no_traceback() -> None:
    """Whatever wrong value the library names."""
    program = "from experiments import launch\ndef main(): raise ValueError('topk=9: lower it')\nlaunch.run(main)"
    done = programs.run(dict(os.environ), "-c", program)
    assert (done.returncode, done.stderr) == (1, "error: topk=9: lower it\n")


@pytest.mark.parametrize("name", ["ablations", "quickstart"])
def test_a_training_that_was_stopped_is_not_taken_for_a_finished_one(name: str, tmp_path: Path) -> None:
    """It ends with status 0 in the middle of its steps: nothing is measured, and the message says how to go on."""
    stopped = f"""
import pathlib, subprocess
from experiments import {name}
def stop(command, **_):
    for workdir in (flag.removeprefix("--workdir=") for flag in command if flag.startswith("--workdir=")):
        pathlib.Path(workdir).mkdir(parents=True)
        (pathlib.Path(workdir) / "metrics.jsonl").write_text('{{"step": 4}}\\n')
    return subprocess.CompletedProcess(command, 0)
{name}.subprocess.run = stop
{name}.launch.run({name}.main)
"""
    flags = ("--store=store", "--only=bias", "--yardsticks=") if name == "ablations" else ()
    done = programs.run(dict(os.environ), "-c", stopped, f"--out={tmp_path}", "--steps=8", *flags)
    assert done.returncode == 1, done.stderr
    assert "stopped before step 8; the same command continues from there" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "rows.json").exists()
