"""What a fit's figures say: which parts of the answer does the theory guarantee (Song et al. 2025, theorem 3)?"""

from typing import NamedTuple

import numpy as np

from tcr_jax.identify.innovations import BACK, Innovations
from tcr_jax.identify.structure import Structure
from tcr_jax.identify.words import some

ENOUGH = 0.99
"""Expected correlation with the truth below which a concept is warned of."""

WORST_CONDITION = 1e7
"""Of a dictionary that float32 activations can be read with."""

UNEXPLAINED = 1e-4
"""Share of the activations' variance from which on it is told."""


class Check(NamedTuple):
    """One thing that the theory needs."""

    name: str
    holds: bool
    words: str


class Diagnostics(NamedTuple):
    """The figures behind the verdict, which `in_words` gives."""

    innovations: Innovations
    structure: Structure
    settled: bool | None  # whether ICA came to rest, where there was one

    def in_words(self) -> list[str]:
        """The verdict first, then what it rests on, assumption by assumption; warnings last."""
        innovations, structure = self.innovations, self.structure
        checks = [_linear(structure), _white(innovations), _rank(structure, innovations.effective_rank)]
        checks += [_stable(structure), _not_gaussian(innovations)]
        failing = [check.name for check in checks if not check.holds]
        verdict = [_guarantee(failing, innovations)]
        if "A4" not in failing:
            verdict.append(_choice_of_m(structure))
        return [*verdict, *(check.words for check in checks), *_warnings(innovations, self.settled)]


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
    if not moves:
        return f"{scope}; no change of one edge of M is as sparse"
    edges = [f"{move.source} -> {move.target} ({move.kind})" for move in moves]
    return f"{scope}. But {len(moves)} changes of one edge of M are as sparse or sparser: {some(edges)}"


def _linear(part: Structure) -> Check:
    if part.activation == "identity":
        words = "the concepts are read linearly from the activations, as the theory has it"
        return Check("linear reading", True, words)
    words = "the theory is of concepts read linearly; here the figures only describe the code"
    return Check("linear reading", False, f"activation={part.activation}: {words}")


def _white(found: Innovations) -> Check:
    notes = []
    if found.together:
        i, j = found.together[0]
        notes.append(
            f"{len(found.together)} pairs are correlated, {some(found.together)}, by up to "
            f"{abs(found.correlation_hkk[0, i, j]):.2g}: a missing effect within the token, or a poor unmixing"
        )
    if found.late:
        h, i, j = found.late[0]
        names = [f"{i} with {j} ({h} before)" for h, i, j in found.late]
        notes.append(
            f"{len(found.late)} times one is correlated with one up to {BACK} tokens before, {some(names)}, by up to "
            f"{abs(found.correlation_hkk[h, i, j]):.2g}: a missing effect, or noise in the activations"
        )
    if found.mixed:
        i, j = found.mixed[0]
        notes.append(
            f"{len(found.mixed)} pairs look like mixtures of each other, {some(found.mixed)}: their squares are "
            f"correlated by up to {abs(found.square_correlation_hkk[0, i, j]):.2g}"
        )
    if found.swinging:
        (i,) = found.swinging[0]
        notes.append(
            f"the scales of {len(found.swinging)} swing, {some(i for (i,) in found.swinging)}: the squares of "
            f"neighbouring tokens are correlated by up to {abs(found.square_correlation_hkk[1, i, i]):.2g}"
        )
    if notes:
        words = f"A1 fails, beyond chance ({found.chance(0):.2g}), for innovations"
        return Check("A1", False, f"{words}: {'; '.join(notes)}")
    if found.pairs_h[1] < 2:
        words = "A1 holds within the token; documents are too short to compare innovations of different tokens"
        return Check("A1", True, words)
    words = "A1 holds: no innovation depends on another or on an earlier one by more than chance"
    return Check("A1", True, f"{words} ({found.chance(0):.2g})")


def _rank(part: Structure, effective_rank: float) -> Check:
    known = f"{part.latents} concepts, {part.width} channels of effective rank {effective_rank:.1f}"
    if part.latents > part.width or not part.condition < WORST_CONDITION:
        return Check("A2", False, f"A2 fails: {known}: several codes give the same activations")
    words = f"A2 holds for the dictionary: its condition number is {part.condition:.3g} ({known})"
    if part.last_rank is not None and part.last_rank < part.latents:
        words += (
            f"; B at lag {part.lags} has rank {part.last_rank}: the theorem asks for full rank, but independent "
            "non-Gaussian innovations make up for it (Comon 1994)"
        )
    return Check("A2", True, words)


def _stable(part: Structure) -> Check:
    holds = part.radius < 1
    return Check("A3", holds, f"A3 {'holds' if holds else 'fails'}: the process grows by {part.radius:.3f} a token")


def _not_gaussian(found: Innovations) -> Check:
    count = int(found.gaussian_k.sum())
    return Check(
        "A4",
        count <= 1,
        f"A4 {'holds' if count <= 1 else 'fails'}: {found.pairs_h[0]:,.0f} tokens cannot tell {count} of "
        f"{len(found.gaussian_k)} innovations from Gaussian ones (one may be); information "
        f"{found.information_k.min():.3f} at least, {np.median(found.information_k):.3f} in the median (Gaussian 1, "
        f"Laplace 2), excess kurtosis {np.median(found.kurtosis_k):.2g} in the median",
    )


def _warnings(found: Innovations, settled: bool | None) -> list[str]:
    k, expected_k = len(found.scale_k), found.expected_k
    worst, lines = int(expected_k.argmin()), []
    if expected_k.any():
        lines.append(
            f"sampling error alone, at {found.fitted:,.0f} tokens, leaves innovations that correlate "
            f"{expected_k.mean():.4f} with the true ones on average, {expected_k[worst]:.4f} for concept {worst}; "
            "what is wrong with the fit adds to it"
        )
    weak = np.flatnonzero((expected_k < ENOUGH) & (expected_k > 0))
    if len(weak):
        lines.append(f"warning: for concepts {some(weak)} that is below {ENOUGH}: give more tokens")
    if settled is False:
        lines.append("warning: ICA did not come to rest: another seed may give another answer")
    if found.fitted < k**2 / 10:
        lines.append(f"warning: {found.fitted:,.0f} tokens; {k} concepts need about {k**2 // 10:,} (k^2 / 10) for ICA")
    still = np.flatnonzero(found.scale_k == 0)
    if len(still):
        lines.append(f"warning: concepts {some(still)} never move")
    if found.unexplained > UNEXPLAINED:
        lines.append(f"{found.unexplained:.2%} of the activations' variance lies outside the concepts")
    return lines
