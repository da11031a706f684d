"""The estimators that are compared, and where to find each.

All have one signature: `estimator(batches, *, latents, lags, seed, say) -> Params`.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import tcr_jax.dictionary
from tcr_jax.identify.types import Batches
from tcr_jax.params import Dictionary, Params


class Estimator(NamedTuple):
    """Where an estimator is, imported when it is asked for: some need the extra `peers`."""

    module: str
    function: str
    options: dict[str, Any] = {}
    given_concepts: bool = False  # z itself is given, by the true dictionary, and only B and M are estimated


ESTIMATORS = {
    "direct": Estimator("experiments.peers.direct", "direct", {"refine": True}),
    "direct_plain": Estimator("experiments.peers.direct", "direct", {"refine": False}),
    "gradient": Estimator("tcr_jax.identify.gradient", "gradient"),
    "gradient_paper": Estimator("experiments.peers.gradient_paper", "gradient_paper"),
    "var_fastica": Estimator("experiments.peers.var_fastica", "var_fastica"),
    "l1_m": Estimator("experiments.peers.l1_m", "l1_m"),
    "varlingam": Estimator("experiments.peers.varlingam", "varlingam", given_concepts=True),
}


def estimate(
    name: str,
    batches: Batches,
    truth: Dictionary,
    *,
    latents: int,
    lags: int,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> Params:
    """Runs an estimator on activations; `truth` is used for those alone that are given the concepts.

    Raises:
      ModuleNotFoundError: the extra `peers` is not installed.
    """
    module, function, options, given_concepts = ESTIMATORS[name]
    estimator = getattr(importlib.import_module(module), function)
    asked: dict[str, Any] = {"latents": latents, "lags": lags, "seed": seed, "say": say, **options}
    if not given_concepts:
        return estimator(batches, **asked)

    def concepts() -> Any:
        for x_btd, document_bt in batches():
            yield tcr_jax.dictionary.encode(truth, x_btd), document_bt

    return Params(dictionary=truth, process=estimator(concepts, **asked).process)
