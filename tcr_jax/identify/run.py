"""An answer as a run of training: it loads, trains on, and is evaluated and reported like any other."""

import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from tcr_jax.checkpoint import CHECKPOINTS, CONFIG, CheckpointError, Checkpoints, saved_steps
from tcr_jax.config import Config, ConfigError
from tcr_jax.files import write_text
from tcr_jax.identify.identify import Identified
from tcr_jax.mesh import make_mesh
from tcr_jax.params import Params
from tcr_jax.store import Store, training_batches
from tcr_jax.train_step import init_state


def save_run(found: Identified | Params, store: str | Path, workdir: str | Path, **settings: Any) -> Config:
    """Writes the parameters as the checkpoint of step 0, and the configuration that continues from there.

    After it `load_run(workdir)` reads them, `experiments.relations --workdir` reports them, and `experiments.train
    --config=WORKDIR/config.json --workdir=WORKDIR` trains them on.

    Args:
      found: of linearly read concepts, with B, M and an intercept, as `identify` returns them.
      store: directory of the activations to train on, report on and hold documents out of.
      workdir: of the run; made if missing.
      settings: other fields of `Config`: `steps`, `batch`, `innovation`, ..

    Raises:
      StoreError: the store cannot be read.
      ConfigError: the settings, or the store's width, do not fit the parameters.
      CheckpointError: `workdir` holds a run already, or cannot be written.
    """
    params = found.params if isinstance(found, Identified) else found
    workdir, description = Path(workdir), Store.open(store).description
    if (workdir / CONFIG).exists() or saved_steps(workdir) - {0}:
        raise CheckpointError(f"{workdir} holds a run already: give another directory")
    k = len(params.dictionary.decoder_kd)
    lags = 0 if params.process.b_lkk is None else len(params.process.b_lkk)
    sizes = {"latents": k, "topk": k, "lags": lags, "activation": params.dictionary.activation, "bias": False}
    config = Config(**({"store": str(store), "innovation": "laplace"} | sizes | settings))
    width = description.source.width
    state = init_state(config, width, jnp.float32(description.mean_d), jnp.float32(description.scale))
    for (path, wanted), (_, given) in zip(_leaves(state.params), _leaves(params), strict=True):
        if wanted != given:
            raise ConfigError(
                f"{jax.tree_util.keystr(path)} has shape {given}, and the store of width {width} with these settings "
                f"asks for {wanted}: give the store that was solved, and no {', '.join(sizes)}"
            )
    shutil.rmtree(workdir / CHECKPOINTS, ignore_errors=True)  # of a call that was killed
    workdir.mkdir(parents=True, exist_ok=True)
    mesh = make_mesh(config, jax.local_devices()[:1])
    checkpoints = Checkpoints(workdir, config, description.source, description.digest, mesh)
    batches = training_batches(Store.open(store, False), heldout=config.heldout, batch=config.batch, seed=config.seed)
    checkpoints.save(state.replace(params=params), batches.get_state(), None)
    checkpoints.close()
    write_text(workdir / CONFIG, config.to_json())
    return config


def _leaves(params: Params) -> list[tuple[Any, tuple[int, ...] | None]]:
    """Every field's path and shape, None where it is left out."""
    leaves = jax.tree.leaves_with_path(params, is_leaf=lambda part: part is None)
    return [(path, None if leaf is None else jnp.shape(leaf)) for path, leaf in leaves]
