"""The training run: restore, step, log one step late, evaluate, save; stop when asked, and continue bit by bit."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from tcr_jax.acyclicity import project_to_dag
from tcr_jax.checkpoint import CONFIG, CheckpointError, Checkpoints
from tcr_jax.config import Config, ConfigError
from tcr_jax.evaluate import describe_process, make_evaluate
from tcr_jax.files import write_text
from tcr_jax.mesh import batch_rows, to_global
from tcr_jax.metrics_file import MetricsFile
from tcr_jax.params import layout
from tcr_jax.store import Description, Store, ordered_batches, training_batches
from tcr_jax.train_step import TrainState, make_init_state, make_train_step


class TrainingDiverged(RuntimeError):
    """The loss or its gradient is no longer finite."""


class Outcome(NamedTuple):
    """How a run ended."""

    state: TrainState
    finished: bool  # False where it was asked to stop before its last step


def train(
    config: Config,
    workdir: Path,
    mesh: Mesh,
    *,
    say: Callable[[str], None] = lambda _: None,
    observe: Callable[[dict[str, float]], None] = lambda _: None,
    should_stop: Callable[[int], bool] = lambda _: False,
) -> Outcome:
    """Trains from the latest checkpoint in `workdir`, or from the start where there is none.

    Args:
      config: of the run; saved as `workdir/config.json`.
      workdir: of the run: `config.json`, `metrics.jsonl` and `checkpoints/`.
      mesh: all devices, from `make_mesh(config)`.
      say: is told in words what happens: warnings, what was restored.
      observe: is given every line of `metrics.jsonl`.
      should_stop: asked before every step, with its number; True saves and returns. Must agree on all processes.

    Raises:
      StoreError: the store cannot be read.
      ConfigError: store and configuration do not fit.
      CheckpointError: the workdir holds another run, or saving failed.
      TrainingDiverged: the loss is no longer finite; names the last good checkpoint.
    """
    store = Store.open(config.store, verify=(jax.process_index(), jax.process_count()))
    source = store.description.source
    for line in check_fit(config, store.description, store.tokens("train", config.heldout)):
        say(f"warning: {line}")
    claim(workdir, config)

    checkpoints = Checkpoints(workdir, config, source, mesh)
    restored = checkpoints.restore_latest()
    index, count = batch_rows(mesh)
    rows: Any = {"heldout": config.heldout, "batch": config.batch, "shard_index": index, "shard_count": count}
    batches = training_batches(store, seed=config.seed, **rows)
    if restored is None:
        mean_d, scale = jnp.float32(store.description.mean_d), jnp.float32(store.description.scale)
        state = make_init_state(config, source.width, mesh)(mean_d, scale)
    else:
        state = restored.state
        batches.set_state(restored.position)
        for line in restored.damaged:
            say(f"warning: {line}; continuing from the one before. It was moved to {workdir / 'damaged'}")
        say(f"continuing from step {int(state.step)}")

    step_number = int(state.step)
    step = make_train_step(config, source.width, mesh)
    evaluate = make_evaluate(config, source.width, mesh)
    describe = jax.jit(describe_process)
    metrics_file = MetricsFile(workdir, step_number) if jax.process_index() == 0 else None
    clock = _Clock(config, store.description.source.context)
    late: tuple[int, Any] | None = None

    def heldout() -> Iterator[tuple[jax.Array, jax.Array]]:
        for batch in ordered_batches(store, split="heldout", limit=config.evaluate_batches, **rows):
            yield to_global(mesh, (batch.x_btd, batch.document_bt))

    def write(values: dict[str, float]) -> None:
        if metrics_file is not None:
            metrics_file.write(values)
        observe(values)

    def check(number: int, metrics: dict[str, jax.Array]) -> dict[str, float]:
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        wrong = [f"{name}={value}" for name, value in values.items() if not np.isfinite(value)]
        if wrong:
            checkpoints.wait()
            last = checkpoints.steps()
            raise TrainingDiverged(
                f"step {number}: {', '.join(wrong)}. The last good checkpoint is "
                f"{f'step {last[-1]}' if last else 'none'}, in {workdir / 'checkpoints'}; lower learning_rate or clip"
            )
        return values

    def log(number: int, metrics: dict[str, jax.Array], state: TrainState) -> dict[str, float]:
        process = {name: float(value) for name, value in jax.device_get(describe(state.params)).items()}
        return {"step": number, **clock.read(number), **check(number, metrics), **process}

    try:
        finished = True
        while step_number < config.steps:
            if should_stop(step_number):
                finished = False
                break
            if step_number == config.dag_step:
                state = _onto_dag(state)
            batch = next(batches)
            x_btd, document_bt = to_global(mesh, (batch.x_btd, batch.document_bt))
            state, metrics = step(state, x_btd, document_bt)
            step_number += 1
            if late is not None:
                check(*late)  # the step before: its numbers are there while this one still runs
            if not clock.running:
                jax.block_until_ready(metrics)  # compilation is over
                clock.start(step_number)
            late = step_number, metrics
            due = step_number % config.checkpoint_every == 0 or step_number == config.steps
            if step_number == config.steps == config.dag_step:
                state = _onto_dag(state)
            if due:
                values = log(step_number, metrics, state) | evaluate(state.params, heldout())
                write(values)
                checkpoints.save(state, batches.get_state(), values["heldout_loss"])
                late = None
                clock.start(step_number)
            elif step_number % config.log_every == 0:
                write(log(step_number, metrics, state))
                late = None
        if not finished and step_number not in checkpoints.steps():
            if late is not None:
                check(*late)
            checkpoints.save(state, batches.get_state(), None)
        checkpoints.wait()
    finally:
        batches.close()
        if metrics_file is not None:
            metrics_file.close()
    checkpoints.close()
    return Outcome(state, finished)


def check_fit(config: Config, description: Description, training_tokens: int) -> list[str]:
    """Warnings about this configuration on this store, in words.

    Raises:
      ConfigError: no token of the store has enough tokens before it.
    """
    source = description.source
    if source.context <= config.delays:
        raise ConfigError(
            f"lags={config.delays} reach as far back as a context is long ({source.context} positions), so no token "
            f"could be predicted; lower lags, or extract longer contexts"
        )
    leaves = jax.tree.leaves(layout(config, source.width), is_leaf=lambda node: hasattr(node, "spec"))
    parameters = sum(int(np.prod(leaf.shape)) for leaf in leaves)
    if training_tokens < parameters:
        return [
            f"{training_tokens:,} training tokens are fewer than {parameters:,} parameters: "
            "extract more text, or lower latents or lags"
        ]
    return []


def claim(workdir: Path, config: Config) -> None:
    """Makes `workdir` this run's, or checks that it already is.

    Raises:
      CheckpointError: it holds a run with another configuration; names the fields.
    """
    path = workdir / CONFIG
    if path.exists():
        differences = config.differences(Config.from_json(path.read_text(encoding="utf-8")))
        if differences:
            raise CheckpointError(
                f"{workdir} holds a run with another configuration (there -> here): {'; '.join(differences)}. "
                f"Use another workdir, or start with --config={path}"
            )
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        write_text(path, config.to_json())
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("claim")


def _onto_dag(state: TrainState) -> TrainState:
    """The state with M projected onto a DAG. Every process computes the same projection from the whole of M."""
    m_kk = state.params.process.m_kk
    if m_kk is None:
        return state
    whole_kk = multihost_utils.process_allgather(m_kk, tiled=True) if jax.process_count() > 1 else np.asarray(m_kk)
    projected_kk = project_to_dag(whole_kk)
    placed_kk = jax.make_array_from_callback(m_kk.shape, m_kk.sharding, lambda index: projected_kk[index])
    process = state.params.process.replace(m_kk=placed_kk)
    return state.replace(params=state.params.replace(process=process))


class _Clock:
    """Positions a second and the time left, measured between two readings."""

    def __init__(self, config: Config, context: int) -> None:
        self._positions, self._steps = config.batch * context, config.steps
        self._step, self._time = 0, 0.0

    @property
    def running(self) -> bool:
        return self._time > 0

    def start(self, step: int) -> None:
        """Measures from here on, and leaves out what went before."""
        self._step, self._time = step, time.perf_counter()

    def read(self, step: int) -> dict[str, float]:
        """What is known at `step`; nothing of speed where no step was measured."""
        tokens, started, since = step * self._positions, self._time, step - self._step
        self.start(step)
        if since == 0:
            return {"tokens": tokens}
        seconds = (self._time - started) / since
        return {
            "tokens": tokens,
            "tokens_per_second": self._positions / seconds,
            "seconds_left": seconds * (self._steps - step),
        }
