"""Diagnostics of any fit, from the direct solver or from training: figures, and which parts the theory guarantees."""

from typing import Any

from tcr_jax.identify.identify import Identified
from tcr_jax.identify.measure import measure
from tcr_jax.identify.source import as_batches
from tcr_jax.identify.structure import structure
from tcr_jax.identify.verdict import Diagnostics
from tcr_jax.params import Params


def diagnose(fit: Params | Identified, data: Any, document_bt: Any = None) -> Diagnostics:
    """Checks a fit against data and against the theory; `print(diagnose(fit, data))` tells all.

    One pass over the data, best those that were not fitted to: an unmixing is bent towards the least Gaussian
    directions of its own. Any parameters will do, from training too; where the dictionary's activation is not
    "identity" the concepts are not linear in the activations, so that nothing is guaranteed and the figures only
    describe the code. Memory is about 16 k^2 numbers.

    Args:
      fit: parameters, which count as fitted to as many tokens as `data` has; or what `identify` returned, which knows.
      data: activations as for `identify`: an array [sequences, tokens, width], a `Store`, or a stream of batches.
      document_bt: for an array, the document of each position.

    Raises:
      NotIdentifiable: the data are of another width, no two tokens have full history, or the innovations are not
        finite.

    >>> from tcr_jax.worlds import WorldConfig, make_world
    >>> world = make_world(WorldConfig(latents=4, parents=2.0, graph="a5", own_past=True))
    >>> for line in diagnose(world.params, world.batches(20)).in_words()[:2]:
    ...     print(line[:60])
    guaranteed, as far as these figures can tell: the innovation
    given z', sparsity identifies each concept of z, B and M (A5
    """
    solved = fit.unmixed if isinstance(fit, Identified) else None
    params = fit.params if isinstance(fit, Identified) else fit
    return Diagnostics(
        innovations=measure(params, as_batches(data, document_bt), None if solved is None else solved.tokens),
        structure=structure(params, fit.b_error_lkk if isinstance(fit, Identified) else None),
        settled=None if solved is None else solved.settled,
        misfit=fit.misfit if isinstance(fit, Identified) else 1.0,
    )
