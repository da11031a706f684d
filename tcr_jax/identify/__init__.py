"""The causal process behind linearly mixed concepts, found directly: no gradient descent, no tuning."""

from tcr_jax.identify.errors import NotIdentifiable
from tcr_jax.identify.identify import Effect, Identified, identify
from tcr_jax.identify.types import Batches

__all__ = ["Batches", "Effect", "Identified", "NotIdentifiable", "identify"]
