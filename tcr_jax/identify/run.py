"""An answer as a run of training: it loads, trains on, and is evaluated and reported like any other."""

from pathlib import Path
from typing import Any

from tcr_jax.config import Config
from tcr_jax.fitted_run import save_fitted
from tcr_jax.identify.identify import Identified
from tcr_jax.params import Params
from tcr_jax.store import Store


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
    k = len(params.dictionary.decoder_kd)
    lags = 0 if params.process.b_lkk is None else len(params.process.b_lkk)
    sizes = {"latents": k, "topk": k, "lags": lags, "activation": params.dictionary.activation, "bias": False}
    config = Config(**({"store": str(store), "innovation": "laplace"} | sizes | settings))
    save_fitted(params, config, Store.open(store), Path(workdir))
    return config
