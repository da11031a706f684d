"""Recovers worlds whose process is known, and says how well: any estimators, any worlds, any seeds.

    python -m experiments.synthetic --estimator=direct [--estimator=...] [--world=paper] [--dim=64] [--seed=0]
                                    [--out=DIR]

Every field of `WorldConfig` is a flag and replaces the world's (`--dim` is `--latents`, `--world` is `--preset`). A
seed is that of the graph, the data and the estimator; each estimator gets the same data, and is scored on fresh data of
the same world. Each row runs in a process of its own, so that its memory is its own. Read z_mcc beside z_mcc_floor,
what a perfect estimator scores that ignores M, and beside the worst concept. With --out every measure is written to
DIR/ESTIMATOR-SEED/metrics.json, of one row alone to DIR/metrics.json; `experiments.synthetic_table` makes tables and
plots of many.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from absl import flags

from experiments import config_flags, launch
from experiments.isolated import isolated
from experiments.peers import ESTIMATORS
from experiments.recovery_row import measure, plain
from tcr_jax.files import write_text
from tcr_jax.worlds import PRESETS, WorldConfig

_PRESET = flags.DEFINE_enum("preset", "realistic", sorted(PRESETS), "world to start from; other flags replace fields")
_ESTIMATOR = flags.DEFINE_multi_enum("estimator", None, list(ESTIMATORS), "may be given several times", required=True)
_TOKENS = flags.DEFINE_integer("tokens", 200_000, "time steps to learn from, whole documents", 1)
_HELDOUT = flags.DEFINE_integer("heldout", 20_000, "fresh time steps to score on, whole documents", 1)
_HELD = flags.DEFINE_float(
    "held", 0.3, "share of memory up to which activations are kept, not simulated in every pass", 0.0, 1.0
)
_SCRATCH = flags.DEFINE_string(
    "scratch", None, "directory of a file that keeps activations for which --held has no room (default: none)"
)
_OUT = flags.DEFINE_string("out", None, "directory of metrics.json; none is written where not given")
config_flags.define(WorldConfig)
flags.DEFINE_alias("world", "preset")
flags.DEFINE_alias("dim", "latents")
_SEED = flags.DEFINE_multi_integer(
    "seed", [0], "seed of the truth, the data and the estimator; may be given several times", 0, allow_override=True
)

SHOWN = {
    "estimator": "",
    "seed": "",
    "z_mcc": ".4f",
    "z_mcc_floor": ".4f",
    "z_mcc_worst": ".4f",
    "eps_mcc": ".4f",
    "B_f1": ".3f",
    "M_f1": ".3f",
    "seconds": ",.1f",
    "GB": ".2f",
}


def table(rows: list[dict[str, Any]]) -> str:
    """The figures that matter most, a line a row; GB (1e9 bytes) are the most memory held."""
    cells = [list(SHOWN)]
    for row in rows:
        gigabytes = max(row["peak_memory_bytes"], row["device_peak_bytes"] or 0) / 1e9
        values = {**row, "seed": row["world"]["seed"], "GB": gigabytes}
        cells.append(["-" if values[name] is None else format(values[name], form) for name, form in SHOWN.items()])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.rjust, line, widths)) for line in cells)


def main() -> None:
    fields = {**PRESETS[_PRESET.value], **config_flags.given(WorldConfig)}
    worlds = [WorldConfig(**{**fields, "seed": seed}) for seed in _SEED.value]
    jobs = [(config, estimator) for config in worlds for estimator in _ESTIMATOR.value]
    rows, failed = [], []
    for place in filter(None, (_OUT.value, _SCRATCH.value)):  # told at once where one cannot be made
        Path(place).mkdir(parents=True, exist_ok=True)
    kept = (_HELD.value, _SCRATCH.value)
    for config, estimator in jobs:
        name = f"{estimator}-{config.seed}"
        try:
            row = isolated(measure, config, estimator, _TOKENS.value, _HELDOUT.value, *kept)
        except (ValueError, MemoryError, RuntimeError, OSError) as error:  # also `Died`, and what JAX says of memory
            failed.append(name)
            print(f"{name} failed: {error}", flush=True)
            continue
        except ModuleNotFoundError as error:
            failed.append(name)
            print(f"{name} failed: the package {error.name} is missing; pip install 'tcr_jax[peers]'", flush=True)
            continue
        row = plain(
            {"preset": _PRESET.value, "command": shlex.join(["python", "-m", __spec__.name, *sys.argv[1:]]), **row}
        )
        rows.append(row)
        print(table([row]), flush=True)
        if _OUT.value:
            directory = Path(_OUT.value) / (name if len(jobs) > 1 else "")
            directory.mkdir(parents=True, exist_ok=True)
            write_text(directory / "metrics.json", json.dumps(row, indent=1) + "\n")
    if len(rows) > 1:
        print(f"\n{table(rows)}", flush=True)
    if failed:
        sys.exit(f"error: {len(failed)} of {len(jobs)} rows failed: {', '.join(failed)}")


if __name__ == "__main__":
    launch.run(main)
