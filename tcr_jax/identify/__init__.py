"""The causal process behind linearly mixed concepts, found directly: no gradient descent, no tuning."""

from tcr_jax.identify.diagnostics import diagnose
from tcr_jax.identify.errors import Doubtful, NotIdentifiable
from tcr_jax.identify.identify import Effect, Identified, identify
from tcr_jax.identify.run import save_run
from tcr_jax.identify.types import Batches
from tcr_jax.identify.verdict import Diagnostics

__all__ = [
    "Batches",
    "Diagnostics",
    "Doubtful",
    "Effect",
    "Identified",
    "NotIdentifiable",
    "diagnose",
    "identify",
    "save_run",
]
