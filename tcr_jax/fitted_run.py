"""Parameters that no training made, as a run: it loads, trains on, and is evaluated and reported like any other."""

import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from tcr_jax.checkpoint import CHECKPOINTS, CONFIG, CheckpointError, Checkpoints, saved_steps
from tcr_jax.config import Config, ConfigError
from tcr_jax.files import write_text
from tcr_jax.mesh import make_mesh
from tcr_jax.params import Params
from tcr_jax.store import Store, training_batches
from tcr_jax.train_step import init_state


def check_free(workdir: Path, step: int = 0) -> None:
    """Raises `CheckpointError` where `workdir` holds a run already.

    What a call of `save_fitted` leaves behind that was killed is none: the checkpoint of its step without a
    configuration.
    """
    if (workdir / CONFIG).exists() or saved_steps(workdir) - {step}:
        raise CheckpointError(f"{workdir} holds a run already: give another directory")


def save_fitted(params: Params, config: Config, store: Store, workdir: Path, *, step: int = 0) -> None:
    """Writes the parameters as the checkpoint of a step, then the configuration: training goes on from that step.

    Args:
      params: of the sizes that the configuration asks for.
      config: of the run.
      store: the one that the configuration names, to train on, report on and hold documents out of.
      workdir: of the run; made if missing.
      step: the run's own; the optimiser and the order of the data begin anew.

    Raises:
      ConfigError: the store's width, or a setting, does not fit the parameters.
      CheckpointError: `workdir` holds a run already, or cannot be written.
    """
    check_free(workdir, step)
    description = store.description
    width = description.source.width
    state = init_state(config, width, jnp.float32(description.mean_d), jnp.float32(description.scale))
    for (path, wanted), (_, given) in zip(_leaves(state.params), _leaves(params), strict=True):
        if wanted != given:
            raise ConfigError(
                f"{jax.tree_util.keystr(path)} has shape {given}, and the store of width {width} with these settings "
                f"asks for {wanted}: give the store that was solved, and latents, lags, activation, bias, intercept "
                "and mode as the parameters have them"
            )
    shutil.rmtree(workdir / CHECKPOINTS, ignore_errors=True)
    workdir.mkdir(parents=True, exist_ok=True)
    mesh = make_mesh(config, jax.local_devices()[:1])
    checkpoints = Checkpoints(workdir, config, description.source, description.digest, mesh)
    batches = training_batches(store, heldout=config.heldout, batch=config.batch, seed=config.seed)
    checkpoints.save(state.replace(step=jnp.int32(step), params=params), batches.get_state(), None)
    checkpoints.close()
    write_text(workdir / CONFIG, config.to_json())


def _leaves(params: Params) -> list[tuple[Any, tuple[int, ...] | None]]:
    """Every field's path and shape, None where it is left out."""
    leaves = jax.tree.leaves_with_path(params, is_leaf=lambda part: part is None)
    return [(path, None if leaf is None else jnp.shape(leaf)) for path, leaf in leaves]
