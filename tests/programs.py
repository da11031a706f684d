"""Launchers as a user starts them: real processes, their output, and their ends."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = (
    *("--latents=16", "--topk=4", "--lags=2", "--batch=8", "--steps=24", "--decay=0.5"),
    *("--checkpoint_every=8", "--log_every=4"),
)


def environment(cache: Path, devices: int = 1) -> dict[str, str]:
    """This environment with so many CPU devices, quiet, and compiled programs shared between processes."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    shared = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, **quiet, **shared, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}


def start(env: dict[str, str], *command: str) -> subprocess.Popen[str]:
    """`python COMMAND...`, to be read from, and written to, while it runs."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=env, text=True, **pipes)


def run(env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """`python COMMAND...` to its end."""
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=env, text=True, capture_output=True, timeout=300)
