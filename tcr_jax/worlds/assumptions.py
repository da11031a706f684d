"""Which of the assumptions behind identifiability a world meets (Song et al. 2025, theorem 3, corollaries 1 and 2)."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import scipy.sparse.csgraph
import scipy.sparse.linalg as spla

from tcr_jax.worlds.stability import spectral_radius
from tcr_jax.worlds.world import World

DECOMPOSED = 1024  # concepts up to which the singular values of B_L are found


class Assumption(NamedTuple):
    """One assumption: does it hold, the number behind the answer, and both in words."""

    holds: bool
    number: float
    words: str


class Assumptions(NamedTuple):
    """The assumptions in their published order; in `number` is what `words` quote."""

    a1_white: Assumption  # deviation: the drift's amplitude, else the share of observation noise
    a2_rank: Assumption  # the larger condition number of A and of B at the last lag; of A alone where k is too large
    a3_stable: Assumption  # spectral radius
    a4_not_gaussian: Assumption  # Gaussian components
    a5_one_child: Assumption  # most children of a concept in M
    a6_blocks: Assumption  # concepts of M's largest block

    def in_words(self) -> list[str]:
        """One line an assumption."""
        return [
            f"A{number} {'holds' if assumption.holds else 'fails'}: {assumption.words}"
            for number, assumption in enumerate(self, start=1)
        ]


def assumptions(world: World) -> Assumptions:
    """Checks the truth itself, not data.

    Under A1 to A4 the parameters are identified up to the choice of M, and with A5 under sparsity each concept, with A6
    each block of concepts. They are sufficient: a world that fails one may still be recovered.

    >>> from tcr_jax.worlds import PRESETS, WorldConfig, make_world
    >>> for line in assumptions(make_world(WorldConfig(latents=8, parents=2.0, graph="chain"))).in_words()[2:]:
    ...     print(line)
    A3 holds: the process grows by 0.900 a token
    A4 holds: 0 of 8 innovations are Gaussian
    A5 holds: most children of a concept within the token: 1
    A6 fails: the largest of M's 1 blocks holds 8 of 8 concepts
    """
    config, k = world.config, world.config.latents
    gaussian = config.noise == "gaussian" or (config.noise == "generalised" and config.exponent == 2)
    gaussians, children = k * gaussian, int((world.m != 0).sum(axis=0).max())
    radius = spectral_radius(world.b, world.m)
    blocks, block_k = scipy.sparse.csgraph.connected_components(world.m, directed=False)
    largest = int(np.bincount(block_k).max())
    return Assumptions(
        a1_white=_white(config.drift, config.observation_noise),
        a2_rank=_rank(world),
        a3_stable=Assumption(radius < 1, radius, f"the process grows by {radius:.3f} a token"),
        a4_not_gaussian=Assumption(gaussians <= 1, gaussians, f"{gaussians} of {k} innovations are Gaussian"),
        a5_one_child=Assumption(children <= 1, children, f"most children of a concept within the token: {children}"),
        a6_blocks=Assumption(
            largest < k or k == 1, largest, f"the largest of M's {blocks} blocks holds {largest} of {k} concepts"
        ),
    )


def _white(drift: float, observation_noise: float) -> Assumption:
    if drift:
        return Assumption(False, drift, f"the innovations' log scales drift by {drift:g}")
    if observation_noise:
        words = f"{observation_noise:.0%} of the activations' variance is noise, which the process does not carry on"
        return Assumption(False, observation_noise, words)
    return Assumption(True, 0.0, "innovations are independent, and of one law at all times")


def _rank(world: World) -> Assumption:
    d, k = world.mixing_dk.shape
    of_a = _norm(world.mixing_dk) * _norm(world.unmixing_kd) if d >= k else np.inf
    of_b = _condition(world.b[-1])
    words = f"condition number of A {of_a:.3g} ({d} channels, {k} concepts), of B at the last lag {of_b:.3g}"
    rank = int(scipy.sparse.csgraph.structural_rank(world.b[-1]))
    return Assumption(bool(d >= k and rank == k), float(max(of_a, of_b)), f"{words} (structural rank {rank})")


def _norm(matrix: np.ndarray) -> float:
    """The largest singular value."""
    if min(matrix.shape) == 1:
        return float(np.linalg.norm(matrix))
    return float(spla.svds(matrix, k=1, return_singular_vectors=False, random_state=0)[0])


def _condition(matrix: sp.csr_array) -> float:
    """Ratio of the extreme singular values; infinite where too few entries are non-zero for full rank."""
    if scipy.sparse.csgraph.structural_rank(matrix) < matrix.shape[0]:
        return np.inf
    return float(np.linalg.cond(matrix.toarray())) if matrix.shape[0] <= DECOMPOSED else np.nan
