"""A run that starts from the parameters of another one, so that concept i stays concept i."""

import dataclasses
from typing import TypeVar

import jax
import numpy as np

from tcr_jax.checkpoint import Run, load_run
from tcr_jax.config import Config, ConfigError
from tcr_jax.mesh import placed_like
from tcr_jax.params import Dictionary, Params, Process
from tcr_jax.store import Source
from tcr_jax.train_step import TrainState

T = TypeVar("T", Dictionary, Process)


def load_start(config: Config, source: Source) -> Run | None:
    """The run that `config.start` names, if it does and the run fits.

    Args:
      config: of the new run.
      source: of the activations that it trains on.

    Raises:
      CheckpointError: there is no such run, or it was trained on other activations.
      ConfigError: the dictionaries differ in size or form; names the fields.
    """
    if not config.start:
        return None
    run = load_run(config.start)
    run.check_source(source)
    wrong = [
        f"{name}={getattr(run.config, name)!r} there, {getattr(config, name)!r} here"
        for name in ("latents", "bias", "activation")
        if getattr(run.config, name) != getattr(config, name)
    ]
    if wrong:
        raise ConfigError(f"start={config.start}: its dictionary does not fit ({'; '.join(wrong)}); set them alike")
    return run


def warm_start(state: TrainState, params: Params) -> TrainState:
    """The state before the first step, with the dictionary of another run, and B, M and intercept where sizes agree.

    Activations are normalised as they were there. The optimiser and the order of the data start anew.

    Args:
      state: as `init_state` made it, on any mesh: its shardings are kept.
      params: of the other run.
    """
    dictionary = _taken(state.params.dictionary, params.dictionary)
    process = _taken(state.params.process, params.process)
    return state.replace(params=state.params.replace(dictionary=dictionary, process=process))


def _taken(here: T, there: T) -> T:
    """Every array that both have; what is no array, such as `topk`, as here."""
    arrays = [field.name for field in dataclasses.fields(here) if field.metadata.get("pytree_node", True)]
    return here.replace(**{name: _placed(getattr(here, name), getattr(there, name)) for name in arrays})


def _placed(here: jax.Array | None, there: jax.Array | None) -> jax.Array | None:
    """The array there, split as the one here, if both exist and have one shape."""
    if here is None or there is None or here.shape != there.shape:
        return here
    return placed_like(here, np.asarray(there))
