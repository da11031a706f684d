"""What a fit's figures say: which parts of the answer does the theory guarantee (Song et al. 2025, theorem 3)?"""

from typing import NamedTuple

import numpy as np

from tcr_jax.identify.checks import assumptions, nearness, warnings
from tcr_jax.identify.innovations import Innovations
from tcr_jax.identify.structure import Structure
from tcr_jax.identify.words import some


class Diagnostics(NamedTuple):
    """The figures behind the verdict, which `in_words` gives."""

    innovations: Innovations
    structure: Structure
    settled: bool | None  # whether ICA came to rest, where there was one
    misfit: float = 1.0  # as in `Identified`

    def __str__(self) -> str:
        """`in_words`, a paragraph a line."""
        return "\n".join(self.in_words())

    def in_words(self) -> list[str]:
        """The verdict first, then what it rests on, assumption by assumption; warnings last."""
        innovations, structure = self.innovations, self.structure
        checks = assumptions(innovations, structure)
        failing = [check.name for check in checks if not check.holds]
        verdict = [_guarantee(failing, innovations)]
        if "A4" not in failing:
            verdict.append(_choice_of_m(structure))
        verdict += [check.words for check in checks] + nearness(innovations, failing)
        return verdict + warnings(innovations, self.settled, self.misfit)


def _guarantee(failing: list[str], found: Innovations) -> str:
    if "A4" in failing:
        gaussian = np.flatnonzero(found.gaussian_k)
        others = len(found.gaussian_k) - len(gaussian)
        rest = f"the other {others} innovations are identified" if others else "nothing else is"
        if failing != ["A4"]:
            rest = f"as {' and '.join(name for name in failing if name != 'A4')} fails too, it may also be a poor fit"
        return (
            f"z is NOT identified: as far as {found.pairs_h[0]:,.0f} tokens tell, any rotation of {len(gaussian)} "
            f"innovations explains the data as well. Concepts {some(gaussian)}, and every effect from or to them, "
            f"mean nothing by themselves; {rest}"
        )
    if failing:
        return (
            f"not guaranteed: {' and '.join(failing)} fail{'s' * (len(failing) == 1)} (see below), "
            "so that the answer is an approximation at best"
        )
    return (
        "guaranteed, as far as these figures can tell: the innovations and z' = (I - M) z, up to order, sign and unit "
        "of the concepts (A1 to A4 hold)"
    )


def _choice_of_m(part: Structure) -> str:
    """A5, A6, and the neighbouring graphs."""
    largest = int(part.block_c[0])
    if not part.acyclic:
        return "z and M are not identified: M has a cycle; project it first (tcr_jax.project_to_dag)"
    if part.ambiguity is None:
        return "which M, and so which z, is not decided: too few entries of B are zero for sparsity to choose"
    if part.children <= 1:
        scope = "given z', sparsity identifies each concept of z, B and M (A5 holds: no concept has two children)"
    elif largest < part.latents:
        scope = (
            f"given z', sparsity identifies z up to the {len(part.block_c)} blocks of M, the largest of {largest} "
            f"concepts (A6); within them nothing guarantees it (A5 fails: a concept has {part.children} children)"
        )
    else:
        scope = (
            f"given z', nothing guarantees z, B and M: A5 fails (a concept has {part.children} children) and so does "
            "A6 (M is one block); they rest on this graph being the sparsest"
        )
    moves = part.ambiguity.moves
    if not moves and part.within_errors:
        return f"{scope}. No change of one edge of M is as sparse, the sampling errors of B taken into account"
    if not moves:
        return (
            f"{scope}. No change of one edge of M is as sparse with these very numbers, which does not rule out one "
            "that is within their sampling errors: an effect that such a change would bring near zero still counts here"
        )
    edges = [f"{move.source} -> {move.target} ({move.kind})" for move in moves]
    within = " within the sampling errors of B" if part.within_errors else ""
    return f"{scope}. But {len(moves)} changes of one edge of M are as sparse or sparser{within}: {some(edges)}"
