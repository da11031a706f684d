"""What earlier tokens and the same token say of a sparse code, in bits a token over the base rate.

    python -m experiments.hurdle --workdir=DIR [--store=DIR] [--prices=0.02] [--lags=3] [--targets=96] [--out=FILE]

Held-out documents; pooled, and by domain where the store names its documents by folders. One row a model: its gain
over intercepts alone for firing, sign and size, and the share of B and M that is not zero, of every part fitted.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import config_flags, launch
from tcr_jax.checkpoint import load_run
from tcr_jax.config import ConfigError
from tcr_jax.files import read_json, write_text
from tcr_jax.hurdle import Bits, HurdleConfig, HurdleProcess, base_process, bits, fit_hurdle
from tcr_jax.hurdle.controls import Counts, count, identity_bits
from tcr_jax.hurdle.likelihood import PARTS, Part
from tcr_jax.store import Store
from tcr_jax.yardsticks.codes import CodeTable, code_table
from tcr_jax.yardsticks.folders import domains
from tcr_jax.yardsticks.lexical import bigram, current, previous

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run whose dictionary is used", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_OUT = flags.DEFINE_string("out", None, "JSON file of all rows; rows of other models and prices that it holds are kept")
_MODELS = flags.DEFINE_list("models", "identity,own,B,M,both", "of identity, own, B, M, both: which to measure")
_PRICES = flags.DEFINE_multi_float("prices", [0.02], "L1 prices: one B, M and both for each", 0)
_LAGS = flags.DEFINE_integer("lags", 3, "tokens back that B reaches", 1)
_SCORED = flags.DEFINE_integer("scored_lags", None, "history a token must have to count (default: --lags)", 1)
_SIZES = flags.DEFINE_bool("sizes", False, "let effects depend on how strongly a source fires, not on its sign alone")
_DECAYS = flags.DEFINE_multi_float("decays", [], "memories of the past that fade by this factor a token", 0, 1)
_TARGETS = flags.DEFINE_integer(
    "targets", None, "concepts predicted, drawn at random (default: all); sums are scaled", 1
)
_PARTS = flags.DEFINE_multi_enum("parts", list(PARTS), PARTS, "links fitted")
_ROWS = flags.DEFINE_integer("rows", 16, "contexts a step", 1)
_SEED = flags.DEFINE_integer("seed", 0, "of the order of the data and of the targets", 0)
_KAPPAS = (1.0, 3.0, 10.0, 30.0)
config_flags.define(HurdleConfig)

PARENTS = {
    "own": {"past": "own", "present": False},
    "B": {"past": "all", "present": False},
    "M": {"past": "none", "present": True},
    "both": {"past": "all", "present": True},
}


class Table:
    """Rows of figures: printed as they come, kept in a file."""

    def __init__(self, base: dict[str, Bits], scale: float, rows: list[dict[str, Any]]) -> None:
        self._base, self._scale = base, scale
        self._rows = rows

    def add(self, name: str, figures: dict[str, Bits], **more: Any) -> None:
        gain = {
            domain: {part: self._scale * (getattr(self._base[domain], part) - getattr(cost, part)) for part in PARTS}
            for domain, cost in figures.items()
        }
        row = {"model": name, "gain": gain, **more}
        self._rows = [old for old in self._rows if _key(old) != _key(row)] + [row]
        of_all = "  ".join(f"{part} {gain['all'][part]:+.2f}" for part in PARTS)
        domains = " ".join(f"{d}:{g['fires']:+.1f}" for d, g in sorted(gain.items()) if d != "all")
        print(f"{name:<24} {of_all}  {' '.join(f'{k}={v:.4g}' for k, v in more.items())}  {domains}", flush=True)
        if _OUT.value:
            write_text(Path(_OUT.value), json.dumps(self._rows, indent=1) + "\n")


def _key(row: dict[str, Any]) -> tuple[str, float | None]:
    """A model at a price: one row."""
    return row["model"], row.get("price")


def identity(table: Table, base: HurdleProcess, train: CodeTable, heldout: CodeTable, **how: Any) -> None:
    """The controls, each at the shrinkage that suits it best on the held-out documents: it flatters them."""
    of_current = count(train, base, current)
    levels: dict[str, list[Counts]] = {
        "previous token": [count(train, base, previous)],
        "current token": [of_current],
        "bigram": [of_current, count(train, base, bigram)],
    }
    for name, counts in levels.items():
        tried = {kappa: identity_bits(base, counts, heldout, kappa=kappa, **how) for kappa in _KAPPAS}
        kappa = min(tried, key=lambda kappa: tried[kappa]["all"].fires)
        table.add(name, tried[kappa], kappa=kappa)


def main() -> None:
    unknown = set(_MODELS.value) - {"identity", *PARENTS}
    if unknown:
        raise ConfigError(f"models={unknown.pop()!r} is unknown; choose of identity, {', '.join(PARENTS)}")
    kept: list[dict[str, Any]] = []
    if _OUT.value:
        Path(_OUT.value).parent.mkdir(parents=True, exist_ok=True)
        kept = read_json(Path(_OUT.value)) if Path(_OUT.value).exists() else []
    run = load_run(_WORKDIR.value)
    store = Store.open(_STORE.value or run.config.store)
    run.check_source(store.description.source)
    train, heldout = (code_table(run.params.dictionary, store, s, run.config.heldout) for s in ("train", "heldout"))
    k, rows, lags = run.config.latents, _ROWS.value, _LAGS.value
    targets = None
    if _TARGETS.value is not None:
        targets = np.sort(np.random.default_rng(_SEED.value).choice(k, min(_TARGETS.value, k), replace=False))
    base = base_process(train.batches(rows), lags, sizes=_SIZES.value, decays=_DECAYS.value, targets=targets)
    how: dict[str, Any] = {"lags": _SCORED.value or lags, "domains": domains(store.documents)}
    cost = bits(base, heldout.batches(rows), **how)
    scale = k / len(base.target_i)
    of_base = "  ".join(f"{part} {scale * getattr(cost['all'], part):.2f}" for part in PARTS)
    print(f"base, bits a token: {of_base}; {cost['all'].tokens} held-out tokens; gains over it:", flush=True)
    parts: list[Part] = [part for part in PARTS if part in _PARTS.value]
    table = Table(cost, scale, kept)
    if "identity" in _MODELS.value:
        identity(table, base, train, heldout, **how)
    for name in (name for name in PARENTS if name in _MODELS.value):
        for price in _PRICES.value if name != "own" else [0.0]:
            config = HurdleConfig(**{**config_flags.given(HurdleConfig), **PARENTS[name], "price": price})
            started = time.monotonic()
            fit = fit_hurdle(base, train.shuffled(rows, _SEED.value), config, parts=parts)
            seconds = time.monotonic() - started
            edges = {part: zip("bm", getattr(fit, part).edges(), strict=True) for part in parts}
            used = {f"{matrix}_{part}": float(of.mean()) for part, both in edges.items() for matrix, of in both}
            table.add(name, bits(fit, heldout.batches(rows), **how), price=price, **used, seconds=seconds)


if __name__ == "__main__":
    launch.run(main)
