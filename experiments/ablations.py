"""What each part of the model is worth: one training run a variant, and a table and a plot of all of them.

    python -m experiments.ablations --store=DIR --out=DIR [--only=lags,topk] [--repeats=3] [--steps=1000]
        [--layer_store=8:DIR ...] [--yardsticks=dictionary,prediction] [any field of Config]

A variant changes one thing of the configuration that the flags give; `--only` names the things. Every run is one of
`experiments.train` and of `experiments.evaluate`, in processes of their own. Writes OUT/rows.json as rows come, then
OUT/table.md and OUT/ablations.png. Given again, it trains no row that is there, and goes on with one that was stopped.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from experiments import launch, train_flags
from tcr_jax.config import Config, ConfigError
from tcr_jax.files import write_text
from tcr_jax.metrics_file import read_metrics
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
    "bias": (True, False),
}
"""Fields of `Config`, and the values that they take in turn."""

COLUMNS = {
    "heldout_fvu": "FVU",
    "heldout_silent": "never fire",
    "dictionary/code_variance": "code variance",
    "heldout_r2_past": "R² of z, past",
    "heldout_r2_past_present": "R² of z, past and M",
    "prediction/all/past/r2_z": "R² of z, past, closed form",
    "prediction/all/past/r2_x": "R² of x, past, closed form",
    "nonzero_b": "non-zero B",
    "nonzero_m": "non-zero M",
}
"""Held-out figures of a row: of the last line of metrics.jsonl, or YARDSTICK/NAME of evaluation.json."""

PLOTTED = ("heldout_fvu", "heldout_r2_past", "heldout_r2_past_present")

Row = dict[str, Any]


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


def check_same(row: Row | None, config: Config, path: Path) -> None:
    """Raises `ConfigError` where the row that is there is one of other settings."""
    kept = dataclasses.asdict(config) if row is None else row["config"]
    differing = [f"{n}: {kept.get(n)!r} -> {v!r}" for n, v in dataclasses.asdict(config).items() if kept.get(n) != v]
    if differing:
        raise ConfigError(f"{path} holds rows of other settings ({'; '.join(differing)}); give another --out")


def measure(variant: Variant, directory: Path) -> Row:
    """Trains and evaluates. Raises `CalledProcessError` where either fails."""
    given = [f"--{name}={value}" for name, value in dataclasses.asdict(variant.config).items()]
    subprocess.run([sys.executable, "-m", "experiments.train", f"--workdir={directory}", *given], check=True)
    found = read_metrics(directory)[-1]
    figures = {name: found[name] for name in found if name.startswith("heldout_")}
    figures |= {f"nonzero_{matrix}": 1 - found[f"zeros_{matrix}"] for matrix in "bm"}
    if _YARDSTICKS.value:
        only = f"--only={','.join(_YARDSTICKS.value)}"
        subprocess.run([sys.executable, "-m", "experiments.evaluate", f"--workdir={directory}", only], check=True)
        evaluation = json.loads((directory / "evaluation.json").read_text(encoding="utf-8"))
        figures |= {f"{yardstick}/{name}": v for yardstick in evaluation for name, v in evaluation[yardstick].items()}
    return {"config": dataclasses.asdict(variant.config), "figures": figures}


def markdown(lines: Mapping[tuple[str, str], list[Row]]) -> str:
    """A table a thing varied: means over the seeds, and the lowest and highest where there are several."""
    names = [name for name in COLUMNS if any(name in row["figures"] for rows in lines.values() for row in rows)]
    tables: dict[str, list[str]] = {}
    for (varied, value), rows in lines.items():
        head = [f"| {varied} | {' | '.join(COLUMNS[name] for name in names)} |", "|---" * (len(names) + 1) + "|"]
        cells = [_cell([row["figures"].get(name) for row in rows]) for name in names]
        tables.setdefault(varied, head).append(f"| {value} | {' | '.join(cells)} |")
    return "\n\n".join("\n".join(table) for table in tables.values()) + "\n"


def _cell(values: list[float | None]) -> str:
    there = [value for value in values if value is not None]
    if len(there) < len(values) or not there:
        return "-"
    spread = f" ({min(there):.3f} to {max(there):.3f})" if len(there) > 1 else ""
    return f"{statistics.mean(there):.3f}{spread}"


def plot(lines: Mapping[tuple[str, str], list[Row]], path: Path) -> None:
    """A column a thing varied, a row a figure, a point a seed; the line joins the means."""
    with launch.extra("report"):
        from matplotlib.figure import Figure

    varied = list(dict.fromkeys(name for name, _ in lines))
    figure = Figure(figsize=(2.6 * len(varied) + 1, 2.2 * len(PLOTTED)), layout="constrained")
    grid = figure.subplots(len(PLOTTED), len(varied), squeeze=False, sharey="row")
    for axes_n, name in zip(grid, PLOTTED, strict=True):
        for axes, thing in zip(axes_n, varied, strict=True):
            of_thing = {value: rows for (other, value), rows in lines.items() if other == thing}
            points = [[row["figures"].get(name, float("nan")) for row in rows] for rows in of_thing.values()]
            axes.plot(range(len(points)), [statistics.mean(values) for values in points], color="C0")
            for place, values in enumerate(points):
                axes.plot([place] * len(values), values, "o", color="C0", markersize=4)
            axes.set_xticks(range(len(points)), of_thing, rotation=30)
            axes.set_title(thing if name == PLOTTED[0] else "")
        axes_n[0].set_ylabel(COLUMNS[name])
    figure.savefig(path, dpi=110)


def main() -> None:
    base, out = train_flags.read(), Path(_OUT.value)
    if not base.store:
        raise ConfigError("--store is missing: give the directory that an extraction or an import wrote")
    asked, path = list(variants(base)), out / "rows.json"
    rows: dict[str, Row] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
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
        except subprocess.CalledProcessError as error:
            failed.append(f"{name}: {error.cmd[2]} ended with status {error.returncode}")
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
