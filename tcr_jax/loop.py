"""The training run: restore, step, log one step late, evaluate, save; stop when asked, and continue bit by bit."""

import contextlib
import math
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
from tcr_jax.checkpoint import CONFIG, CheckpointError, Checkpoints, begun
from tcr_jax.config import Config, ConfigError
from tcr_jax.evaluate import describe_process, make_evaluate
from tcr_jax.files import write_text
from tcr_jax.mesh import batch_rows, placed_like, to_global
from tcr_jax.metrics_file import MetricsFile
from tcr_jax.params import parameter_count
from tcr_jax.store import Store, ordered_batches, training_batches
from tcr_jax.store.split import Split
from tcr_jax.train_step import Metrics, TrainState, make_init_state, make_train_step
from tcr_jax.warm_start import load_start, warm_start

Values = dict[str, float]


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
    observe: Callable[[Values], None] = lambda _: None,
    should_stop: Callable[[int], bool] = lambda _: False,
) -> Outcome:
    """Trains from the latest checkpoint in `workdir`, or from the start where there is none.

    Args:
      config: of the run; saved as `workdir/config.json`.
      workdir: of the run: `config.json`, `metrics.jsonl` and `checkpoints/`. All processes must see it.
      mesh: all devices, from `make_mesh(config)`.
      say: is told in words what happens: warnings, what was restored.
      observe: is given every line of `metrics.jsonl`.
      should_stop: asked before every step, with its number; True saves and returns. Must agree on all processes.

    Raises:
      StoreError: the store cannot be read.
      ConfigError: store and configuration do not fit, or the run to start from does not.
      CheckpointError: the workdir holds another run, saving failed, or `config.start` holds no run of such activations.
      TrainingDiverged: the loss is no longer finite; names the last good checkpoint.
    """
    store = Store.open(config.store, verify=(jax.process_index(), jax.process_count()))
    for line in check_fit(config, store):
        say(f"warning: {line}")
    description = store.description
    start = None if begun(workdir) else load_start(config, description.source)
    claim(workdir, config)
    checkpoints = Checkpoints(workdir, config, description.source, description.digest, mesh)
    index, count = batch_rows(mesh)
    rows: Any = {"heldout": config.heldout, "batch": config.batch, "shard_index": index, "shard_count": count}
    batches = training_batches(store, seed=config.seed, **rows)
    record: Record | None = None
    try:
        state = _restore(checkpoints, batches, say)
        if state is None:
            mean_d, scale = jnp.float32(description.mean_d), jnp.float32(description.scale)
            state = make_init_state(config, description.source.width, mesh)(mean_d, scale)
            if start is not None:
                state = warm_start(state, start.params)
                say(f"starting from step {start.step} of {config.start}")
        train_step = make_train_step(config, description.source.width, mesh)
        evaluate = make_evaluate(config, description.source.width, mesh)
        step = int(state.step)
        record = Record(workdir, config, checkpoints, _kept_a_step(config, store), step, observe)

        def heldout() -> Iterator[tuple[jax.Array, jax.Array]]:
            for batch in ordered_batches(store, split="heldout", limit=config.evaluate_batches, **rows):
                yield to_global(mesh, (batch.x_btd, batch.document_bt))

        while step < config.steps:
            if should_stop(step):
                record.settle()
                if step not in checkpoints.steps():
                    checkpoints.save(state, batches.get_state(), None)
                break
            batch = next(batches)
            state, metrics = train_step(state, *to_global(mesh, (batch.x_btd, batch.document_bt)))
            step += 1
            if step == config.dag_step:
                state = _onto_dag(state)
            record.note(step, metrics)
            if step % config.checkpoint_every == 0 or step == config.steps:
                values = record.write(state, evaluate(state.params, heldout()))
                comparable = step >= config.dag_step  # before, M may have cycles: no model of the same kind
                checkpoints.save(state, batches.get_state(), values["heldout_loss"] if comparable else None)
            elif step % config.log_every == 0:
                record.write(state)
        checkpoints.wait()
    except BaseException:
        with contextlib.suppress(CheckpointError):  # the error on its way says more
            checkpoints.close()
        raise
    finally:
        batches.close()
        if record is not None:
            record.close()
    checkpoints.close()
    return Outcome(state, finished=step == config.steps)


class Record:
    """The numbers of a run: checked one step late, while the next step runs; written on process 0; shown."""

    def __init__(
        self,
        workdir: Path,
        config: Config,
        checkpoints: Checkpoints,
        tokens_a_step: float,
        step: int,
        observe: Callable[[Values], None],
    ) -> None:
        self._config, self._checkpoints, self._observe = config, checkpoints, observe
        self._tokens_a_step = tokens_a_step
        self._file = MetricsFile(workdir, step) if jax.process_index() == 0 else None
        self._describe = jax.jit(describe_process)
        self._latest: tuple[int, Metrics] | None = None
        self._since: tuple[int, float] | None = None  # a step and when it ended: speed is measured from here

    def note(self, step: int, metrics: Metrics) -> None:
        """Takes the metrics of a step that may still be running, and checks those of the step before."""
        self.settle()
        self._latest = step, metrics
        if self._since is None:
            jax.block_until_ready(metrics)  # compilation is over
            self._since = step, time.perf_counter()

    def settle(self) -> Values:
        """The latest metrics, waited for. Raises `TrainingDiverged` where one is not finite."""
        if self._latest is None:
            return {}
        step, metrics = self._latest
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self._check(step, values)
        return values

    def write(self, state: TrainState, heldout: Values | None = None) -> Values:
        """Adds a line for the latest step, with what held-out text says if it was asked. Returns the line."""
        assert self._latest is not None, "no step was noted"
        step, values = self._latest[0], self.settle()
        line = {"step": step, "tokens": round(step * self._tokens_a_step), **self._speed(step), **values}
        line |= {name: float(value) for name, value in jax.device_get(self._describe(state.params)).items()}
        if heldout is not None:
            self._check(step, heldout)
            line |= heldout
        if self._file is not None:
            self._file.write(line)
        self._observe(line)
        self._since = step, time.perf_counter()
        return line

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _speed(self, step: int) -> Values:
        """Tokens a second since the last line, what was not training left out; nothing where no step was measured."""
        if self._since is None or step == self._since[0]:
            return {}
        seconds = (time.perf_counter() - self._since[1]) / (step - self._since[0])
        return {
            "tokens_per_second": self._tokens_a_step / seconds,
            "seconds_left": seconds * (self._config.steps - step),
        }

    def _check(self, step: int, values: Values) -> None:
        wrong = [f"{name}={value}" for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            self._checkpoints.wait()
            last = self._checkpoints.steps()
            raise TrainingDiverged(
                f"step {step}: {', '.join(wrong)}. The last good checkpoint is "
                f"{f'step {last[-1]}' if last else 'none'}; train in another workdir with a lower learning_rate, "
                "process_learning_rate or clip"
            )


def check_fit(config: Config, store: Store) -> list[str]:
    """Warnings about this configuration on this store, in words.

    Raises:
      ConfigError: no document is held out, none is trained on, or no token of those has enough tokens before it.
    """
    uses: dict[Split, str] = {"train": "to train on", "heldout": "held out"}
    for split, use in uses.items():
        if not len(store.contexts(split, config.heldout)):
            raise ConfigError(
                f"heldout={config.heldout}: none of the store's {store.description.documents} documents is {use}; "
                "change heldout, or extract more documents"
            )
    runs = (_longest_run(store, int(index)) for index in store.contexts("train", config.heldout))
    longest = 0
    for run in runs:
        longest = max(longest, run)
        if longest > config.delays:
            break
    else:
        raise ConfigError(
            f"lags={config.delays}, but no document has more than {longest} kept tokens in a row within a context of "
            f"{store.description.source.context}: no token could be predicted; lower lags, or extract longer contexts"
        )
    tokens = store.tokens("train", config.heldout)
    parameters = parameter_count(config, store.description.source.width)
    if tokens < parameters:
        return [
            f"{tokens:,} training tokens are fewer than {parameters:,} parameters: extract more text, or lower latents "
            "or lags"
        ]
    return []


def claim(workdir: Path, config: Config) -> None:
    """Makes `workdir` this run's, or checks that it already is.

    Raises:
      CheckpointError: it holds a run with another configuration; names the fields.
      ConfigError: its configuration is damaged; names the file.
    """
    path = workdir / CONFIG
    if path.exists():
        differences = config.differences(Config.read(path))
        if differences:
            raise CheckpointError(
                f"{workdir} holds a run with another configuration (there -> here): {'; '.join(differences)}. "
                f"Use another workdir, or start with --config={path}"
            )
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("claim")  # all have looked
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        write_text(path, config.to_json())
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("claimed")


def _restore(checkpoints: Checkpoints, batches: Any, say: Callable[[str], None]) -> TrainState | None:
    """The state to continue from, with the data at its place, or None for a new run."""
    restored = checkpoints.restore_latest()
    if restored is None:
        return None
    batches.set_state(restored.position)
    for line in restored.damaged:
        say(f"warning: {line}; continuing from the one before, and the damaged one is set aside in damaged/")
    say(f"continuing from step {int(restored.state.step)}")
    return restored.state


def _onto_dag(state: TrainState) -> TrainState:
    """The state with M projected onto a DAG. Every process computes the same projection from the whole of M."""
    m_kk = state.params.process.m_kk
    if m_kk is None:
        return state

    def whole(array: jax.Array) -> np.ndarray:
        return multihost_utils.process_allgather(array, tiled=True) if jax.process_count() > 1 else np.asarray(array)

    projected_kk = project_to_dag(whole(m_kk), np.sqrt(whole(state.latents.power_k)))
    process = state.params.process.replace(m_kk=placed_like(m_kk, projected_kk))
    return state.replace(params=state.params.replace(process=process))


def _kept_a_step(config: Config, store: Store) -> float:
    """Tokens trained on a step, on average: positions that are neither dropped nor held out."""
    return config.batch * store.tokens("train", config.heldout) / len(store.contexts("train", config.heldout))


def _longest_run(store: Store, index: int) -> int:
    """Kept tokens in a row, of one document, in one context."""
    context = store[index]
    document_t = np.where(context.kept_t, context.document_t, -1)
    cuts = np.flatnonzero(np.diff(document_t, prepend=-2, append=-2))
    lengths = [end - start for start, end in zip(cuts[:-1], cuts[1:], strict=True) if document_t[start] >= 0]
    return max(lengths, default=0)
