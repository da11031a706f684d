"""What the theory asks of a fit (Song et al. 2025, theorem 3), assumption by assumption, and what else to beware of."""

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


ONE_TOKEN = 0.1
"""Share of an innovation's variance that no token should hold: n tokens with one of share s have kurtosis s^2 n."""

LEAST_KURTOSIS = 100.0
"""Heavy tails that are no outliers, in few tokens."""


class Check(NamedTuple):
    """One thing that the theory needs."""

    name: str
    holds: bool
    words: str


def assumptions(found: Innovations, part: Structure) -> list[Check]:
    """In their published order."""
    return [_linear(part), _white(found), _rank(part, found), _stable(part), _not_gaussian(found)]


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


def _rank(part: Structure, found: Innovations) -> Check:
    known = f"{part.latents} concepts, {part.width} channels of effective rank {found.effective_rank:.1f}"
    still = np.flatnonzero(found.scale_k == 0)
    if len(still):
        words = f"concepts {some(still)} never move, so that these data say nothing of them"
        return Check("A2", False, f"A2 fails: {known}: {words}")
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


def nearness(found: Innovations, failing: list[str]) -> list[str]:
    """To the truth, of those innovations that are identified at all."""
    expected_k = found.expected_k
    known = np.flatnonzero(expected_k * found.scale_k)
    if not len(known):
        return []
    worst, tokens = known[expected_k[known].argmin()], f"{found.fitted:,.0f} tokens"
    figures = (
        f"{expected_k[known].mean():.4f} with the true ones on average, {expected_k[worst]:.4f} for concept {worst}"
    )
    others = [name for name in failing if name != "A4"]  # which says itself what is lost
    if others:
        return [
            f"how near the innovations are to true ones is not known, as {' and '.join(others)} "
            f"fail{'s' * (len(others) == 1)}. Otherwise sampling error, at {tokens}, would leave innovations that "
            f"correlate {figures}"
        ]
    lines = [
        f"sampling error alone, at {tokens}, leaves innovations that correlate {figures}; what is wrong with the fit "
        "adds to it"
    ]
    weak = known[expected_k[known] < ENOUGH]
    if len(weak):
        lines.append(f"warning: for concepts {some(weak)} that is below {ENOUGH}: give more tokens")
    return lines


def of_ica(latents: int, tokens: float, settled: bool | None) -> list[str]:
    """What to beware of in an answer of ICA."""
    lines = []
    if settled is False:
        lines.append("ICA did not come to rest: another seed may give another answer; try some, or give more tokens")
    if tokens < latents**2 / 10:
        lines.append(f"{tokens:,.0f} tokens; {latents} concepts need about {latents**2 // 10:,} (k^2 / 10) for ICA")
    return lines


def of_misfit(misfit: float) -> list[str]:
    """What to beware of where more varies than sampling explains."""
    if misfit <= 1:
        return []
    return [
        f"the model does not fit: effects held at zero vary {misfit:.1f} times as much as sampling explains, and "
        "standard errors were raised by that. Noise on the activations does this, and so do effects that reach further "
        "back than `lags` or are not linear, and innovations near Gaussian"
    ]


def warnings(found: Innovations, settled: bool | None, misfit: float) -> list[str]:
    """And of the data."""
    of_answer = of_ica(len(found.scale_k), found.fitted, settled) + of_misfit(misfit)
    lines = [f"warning: {line}" for line in of_answer]
    lone = np.flatnonzero(found.kurtosis_k > max(ONE_TOKEN**2 * found.pairs_h[0], LEAST_KURTOSIS))
    if len(lone):
        lines.append(
            f"warning: single tokens hold over {ONE_TOKEN:.0%} of the variance of concepts {some(lone)} (excess "
            f"kurtosis up to {found.kurtosis_k.max():,.0f}), and none of these figures can be trusted: drop outliers "
            "(document_bt -1)"
        )
    if found.unexplained > UNEXPLAINED:
        lines.append(f"{found.unexplained:.2%} of the activations' variance lies outside the concepts")
    return lines
