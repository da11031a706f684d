"""What the closed form saves: operations, and held-out R^2, of it and of gradient descent on the same frozen codes.

    python -m experiments.process_cost --workdir=DIR --out=FILE [--store=DIR] [--lags=3] [--budget=500000 ...]
        [--at=LATENTS,LAGS,ACTIVE ...]

Adam minimises the mean squared innovation over B and the intercept: one run from zero for every budget of tokens and
every rate, which falls linearly to zero. Operations are products and additions, counted by formula: `as_run` with the
matrix products that the code makes, `nonzero` where both routes skip what multiplies a zero of the code. Encoding
counts in neither, as codes can be kept. `--at` counts other sizes on the same documents, gradient descent for one pass.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import flags

from experiments import launch
from experiments.process_operations import (
    Size,
    dense_operations,
    gradient_operations,
    measure_size,
    moment_operations,
    sparse_operations,
)
from tcr_jax.checkpoint import load_run
from tcr_jax.closed_form import collect_moments, fit_moments
from tcr_jax.closed_form.moments import active_latents
from tcr_jax.config import ConfigError
from tcr_jax.dictionary import encode
from tcr_jax.files import write_text
from tcr_jax.objective import masked_mean
from tcr_jax.params import Dictionary, Process
from tcr_jax.process import history, innovations
from tcr_jax.store import Batch, Store, ordered_batches, training_batches
from tcr_jax.store.split import Split
from tcr_jax.typing import Array
from tcr_jax.yardsticks.prediction import from_process, score

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run whose dictionary is taken", required=True)
_OUT = flags.DEFINE_string("out", None, "JSON file of the rows", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_LAGS = flags.DEFINE_integer("lags", 3, "tokens back", 1)
_PARENTS = flags.DEFINE_integer("parents", 32, "parents of the sparse closed form", 1)
_RIDGE = flags.DEFINE_float("ridge", 0.03, "ridge of the closed form", 0)
_BUDGET = flags.DEFINE_multi_integer("budget", [250_000, 500_000, 1_000_000], "tokens that a run of Adam sees", 1)
_RATE = flags.DEFINE_multi_float("rate", [1e-3], "peak learning rate of Adam", 0)
_BATCH = flags.DEFINE_integer("batch", 8, "contexts a step", 1)
_AT = flags.DEFINE_multi_string("at", [], "LATENTS,LAGS,ACTIVE of another size whose operations are counted")


def descend(dictionary: Dictionary, batches: Iterator[Any], lags: int, steps: int, rate: float) -> Process:
    """Adam from zero, at a rate that falls linearly to zero."""
    k = dictionary.encoder_kd.shape[0]
    optimizer = optax.adam(optax.linear_schedule(rate, 0, steps))

    def loss(process: Process, z_btk: Array, document_bt: Array) -> Array:
        eps_btk = jax.vmap(innovations, (None, 0, 0))(process, z_btk, document_bt)
        return masked_mean(jnp.square(eps_btk).sum(-1), jax.vmap(history, (0, None))(document_bt, lags))

    @jax.jit
    def step(process: Process, state: Any, x_btd: Array, document_bt: Array) -> tuple[Process, Any]:
        z_btk = jnp.where(document_bt[..., None] >= 0, encode(dictionary, x_btd), 0)
        updates, state = optimizer.update(jax.grad(loss)(process, z_btk, document_bt), state)
        return optax.apply_updates(process, updates), state

    process = Process(jnp.zeros((lags, k, k)), None, jnp.zeros(k))
    state = optimizer.init(process)
    for _ in range(steps):
        batch = next(batches)
        process, state = step(process, state, batch.x_btd, batch.document_bt)
    return process


def other_size(text: str) -> tuple[int, int, int]:
    """LATENTS,LAGS,ACTIVE. Raises `ConfigError` where it is something else."""
    try:
        latents, lags, active = map(int, text.split(","))
    except ValueError as error:
        raise ConfigError(f"at={text!r} must be three whole numbers: LATENTS,LAGS,ACTIVE") from error
    if not 0 < active <= latents or lags < 1:
        raise ConfigError(f"at={text!r}: give at least one lag, and from 1 to LATENTS active")
    return latents, lags, active


def main() -> None:
    others = [other_size(text) for text in _AT.value]
    Path(_OUT.value).parent.mkdir(parents=True, exist_ok=True)
    run = load_run(_WORKDIR.value)
    store = Store.open(_STORE.value or run.config.store)
    run.check_source(store.description.source)
    dictionary, heldout, lags, parents = run.params.dictionary, run.config.heldout, _LAGS.value, _PARENTS.value
    contexts = len(store.contexts("train", heldout))
    rows: list[dict[str, Any]] = []

    def ordered(split: Split) -> Iterator[Batch]:
        return ordered_batches(store, split=split, heldout=heldout, batch=_BATCH.value)

    def add(fit: str, size: Size, count: Callable[[bool], float], process: Process | None, **more: float) -> None:
        row = {"fit": fit, **more, **size._asdict(), "as_run": count(False), "nonzero": count(True)}
        if process is not None:
            figures = score(dictionary, {"it": from_process(process)}, ordered("heldout"), size.lags)
            row |= {f"r2_{variable}": figures[f"all/it/r2_{variable}"] for variable in "zx"}
        rows.append(row)
        write_text(Path(_OUT.value), json.dumps(rows, indent=1) + "\n")
        print("  ".join(f"{name} {value:.4g}" if name != "fit" else value for name, value in row.items()), flush=True)

    def add_closed(size: Size, sparse: Process | None, dense: Process | None) -> None:
        few, full = sparse_operations(size, parents), dense_operations(size)
        add(f"closed form, {parents} parents", size, lambda skip: moment_operations(size, skip) + few, sparse)
        add("closed form, all sources", size, lambda skip: moment_operations(size, skip) + full, dense)

    def add_gradient(size: Size, steps: float, process: Process | None, rate: float) -> None:
        seen = steps * size.tokens * _BATCH.value / contexts
        add("gradient", size, lambda skip: gradient_operations(size, seen, steps, skip), process, seen=seen, rate=rate)

    for latents, other_lags, active in others:
        other = measure_size(ordered("train"), latents, other_lags, active)
        add_closed(other, None, None)
        add_gradient(other, contexts / _BATCH.value, None, 0)
    size = measure_size(ordered("train"), dictionary.encoder_kd.shape[0], lags, active_latents(dictionary))
    moments = collect_moments(dictionary, ordered("train"), lags)
    sparse, dense = (fit_moments(moments, ridge=_RIDGE.value, parents=count) for count in (parents, None))
    add_closed(size, sparse, dense)
    for budget in _BUDGET.value:
        for rate in _RATE.value:
            steps = max(round(budget / size.tokens * contexts / _BATCH.value), 1)
            batches = training_batches(store, heldout=heldout, batch=_BATCH.value, seed=run.config.seed)
            add_gradient(size, steps, descend(dictionary, batches, lags, steps, rate), rate)


if __name__ == "__main__":
    launch.run(main)
