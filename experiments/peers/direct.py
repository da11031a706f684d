"""The library's own direct solver, in the signature that all estimators here share."""

from collections.abc import Callable

from tcr_jax.identify import Batches, identify
from tcr_jax.params import Params


def direct(
    batches: Batches, *, latents: int, lags: int, seed: int, refine: bool, say: Callable[[str], None] = lambda _: None
) -> Params:
    """`tcr_jax.identify.identify`, without standard errors: no measure here reads them."""
    return identify(batches, latents=latents, lags=lags, seed=seed, refine=refine, draws=0, say=say).params
