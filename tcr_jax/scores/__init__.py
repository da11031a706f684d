"""How much of a known process was found: concepts, innovations and edges, against the truth."""

from tcr_jax.scores.alignment import align
from tcr_jax.scores.correlation import Kind, correlations
from tcr_jax.scores.coverage import coverage
from tcr_jax.scores.edges import EdgeScores, edges
from tcr_jax.scores.matching import Matching, match
from tcr_jax.scores.mcc import Mcc, mcc
from tcr_jax.scores.recovery import recovery
