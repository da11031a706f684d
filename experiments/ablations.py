"""What each part of the model is worth: one training run a variant, and a table and a plot of all of them.

    python -m experiments.ablations --store=DIR --out=DIR [--only=lags,topk] [--repeats=3] [--steps=1000]
        [--layer_store=8:DIR ...] [--yardsticks=dictionary,prediction] [any field of Config]

A variant changes one thing of the configuration that the flags give; `--only` names the things. Every run is one of
`experiments.train` and of `experiments.evaluate`, in processes of their own. Writes OUT/rows.json as rows come, then
OUT/table.md and OUT/ablations.png. Given again, it trains no row that is there, and goes on with one that was stopped.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from experiments import launch, train_flags
from experiments.ablation_table import Row, markdown, plot
from tcr_jax.config import Config, ConfigError
from tcr_jax.files import write_text
from tcr_jax.metrics_file import last_step, read_metrics
from tcr_jax.relations.tables import to_json

_OUT = flags.DEFINE_string("out", None, "directory of the runs, the table and the plot", required=True)
_ONLY = flags.DEFINE_list("only", None, "things that are varied (default: all; layer, where stores are given)")
_REPEATS = flags.DEFINE_integer("repeats", 1, "seeds of every variant, from --seed on", 1)
_LAYERS = flags.DEFINE_multi_string("layer_store", [], "LAYER:DIR, the store of another layer")
_YARDSTICKS = flags.DEFINE_list("yardsticks", ["dictionary"], "yardsticks of experiments.evaluate")
flags.adopt_module_key_flags(train_flags)

VARIED: dict[str, tuple[Any, ...]] = {
    "mode": ("temporal", "instantaneous", "both"),
    "innovation_weight": (0.003, 0.03, 0.3, 3.0),
    "sparsity_weight": (0.001, 0.01, 0.1, 1.0),
    "acyclicity_weight": (0.1, 1.0, 10.0, 100.0),
    "revival_weight": (1 / 320, 1 / 32, 10 / 32, 100 / 32),
    "code_l1": (0.0, 0.01, 0.1, 1.0, 10.0),
    "lags": (1, 2, 5, 10, 20),
    "topk": (8, 16, 32, 64),
    "corrections": (0, 1, 2),
    "bias": (True, False),
}
"""Fields of `Config`, and the values that they take in turn."""


class NotMeasured(RuntimeError):
    """A variant that has no figures: the message says why."""


class Variant(NamedTuple):
    """One line of the table."""

    varied: str
    value: str
    config: Config

    def directory(self, base: Config) -> str:
        """Where its run lies: what changes nothing is one run, whichever table it is in."""
        same = dataclasses.replace(self.config, seed=base.seed) == base
        return f"{'base' if same else f'{self.varied}={self.value}'}/seed{self.config.seed}"


def variants(base: Config) -> Iterator[Variant]:
    """Those asked for. Raises `ConfigError` where one cannot be."""
    layers = dict(_layer(text) for text in _LAYERS.value)
    settings: dict[str, Mapping[str, Any]] = {
        name: {f"{value:.4g}" if isinstance(value, float) else str(value): value for value in values}
        for name, values in VARIED.items()
    }
    settings |= {"layer": layers} if layers else {}
    for varied in settings if _ONLY.value is None else _ONLY.value:
        if varied == "layer" and not layers:
            raise ConfigError("only=layer needs the stores: give --layer_store=LAYER:DIR for each layer")
        if varied not in settings:
            raise ConfigError(f"only={varied!r} is not varied; choose of {', '.join(VARIED)}, layer")
        for value, setting in settings[varied].items():
            field = "store" if varied == "layer" else varied
            for seed in range(base.seed, base.seed + _REPEATS.value):
                try:
                    config = dataclasses.replace(base, **{field: setting, "seed": seed})
                except ConfigError as error:
                    raise ConfigError(f"{varied}={value}: {error}; or leave {varied} out of --only") from error
                yield Variant(varied, value, config)


def _layer(text: str) -> tuple[str, str]:
    layer, _, directory = text.partition(":")
    if not layer.isdigit() or not directory:
        raise ConfigError(f"layer_store={text!r} must be LAYER:DIR")
    return layer, directory


def read_rows(path: Path) -> dict[str, Row]:
    """The rows that are there. Raises `ConfigError` naming the file where it is damaged."""
    try:
        rows: dict[str, Row] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if not all({"config", "figures"} <= row.keys() for row in rows.values()):
            raise ValueError("a row without config or figures")
    except (AttributeError, ValueError) as error:
        raise ConfigError(f"{path}: damaged ({error}); restore it, or remove it: trained runs are kept") from error
    return rows


def check_same(row: Row | None, config: Config, path: Path) -> None:
    """Raises `ConfigError` where the row that is there is one of other settings."""
    kept = dataclasses.asdict(config) if row is None else row["config"]
    differing = [f"{n}: {kept.get(n)!r} -> {v!r}" for n, v in dataclasses.asdict(config).items() if kept.get(n) != v]
    if differing:
        raise ConfigError(f"{path} holds rows of other settings ({'; '.join(differing)}); give another --out")


def measure(variant: Variant, directory: Path) -> Row:
    """Trains and evaluates. Raises `NotMeasured` where either fails, or training was asked to stop."""
    given = [f"--{name}={value}" for name, value in dataclasses.asdict(variant.config).items()]
    _launch("experiments.train", f"--workdir={directory}", *given)
    if last_step(directory) < variant.config.steps:
        raise NotMeasured(f"stopped before step {variant.config.steps}; the same command continues from there")
    found = read_metrics(directory)[-1]
    figures = {name: found[name] for name in found if name.startswith("heldout_")}
    figures |= {f"nonzero_{matrix}": 1 - found[f"zeros_{matrix}"] for matrix in "bm"}
    if _YARDSTICKS.value:
        _launch("experiments.evaluate", f"--workdir={directory}", f"--only={','.join(_YARDSTICKS.value)}")
        evaluation = json.loads((directory / "evaluation.json").read_text(encoding="utf-8"))
        figures |= {f"{yardstick}/{name}": v for yardstick in evaluation for name, v in evaluation[yardstick].items()}
    return {"config": dataclasses.asdict(variant.config), "figures": figures}


def _launch(*command: str) -> None:
    if status := subprocess.run([sys.executable, "-m", *command]).returncode:
        raise NotMeasured(f"{command[0]} ended with status {status}")


def main() -> None:
    base, out = train_flags.read(), Path(_OUT.value)
    if not base.store:
        raise ConfigError("--store is missing: give the directory that an extraction or an import wrote")
    asked, path = list(variants(base)), out / "rows.json"
    rows = read_rows(path)
    by_name = {variant.directory(base): variant for variant in asked}
    for name, variant in by_name.items():
        check_same(rows.get(name), variant.config, path)
    failed: list[str] = []
    for number, (name, variant) in enumerate(by_name.items()):
        if name in rows and {figure.partition("/")[0] for figure in rows[name]["figures"]} >= set(_YARDSTICKS.value):
            continue
        print(f"{name}: {number + 1} of {len(by_name)}", flush=True)
        try:
            rows[name] = measure(variant, out / name)
            write_text(path, to_json(rows))
        except NotMeasured as error:
            failed.append(f"{name}: {error}")
    lines: dict[tuple[str, str], list[Row]] = {}
    for variant in asked:
        if variant.directory(base) in rows:
            lines.setdefault((variant.varied, variant.value), []).append(rows[variant.directory(base)])
    if lines:
        write_text(out / "table.md", markdown(lines))
        plot(lines, out / "ablations.png")
        print(markdown(lines), end="")
    if failed:
        sys.exit("\n".join(["error: not measured:", *failed]))


if __name__ == "__main__":
    launch.run(main)
