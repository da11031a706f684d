"""Reasons to doubt an answer that show while it is found, and are told unasked; `diagnose` tells much more."""

import jax
import numpy as np

from tcr_jax.identify.checks import of_ica, of_misfit
from tcr_jax.identify.innovations import nearly_gaussian
from tcr_jax.identify.unmix import Unmixed
from tcr_jax.identify.words import some
from tcr_jax.params import Params
from tcr_jax.process import spectral_radius

CONSTANT = 1e-6
"""Share of the largest channel's standard deviation up to which a channel counts as constant."""

FARTHEST = 1e4
"""Standard deviations from zero beyond which float32 keeps less than three digits of what varies."""


def doubts(unmixed: Unmixed, params: Params, misfit: float, latents: int | None) -> list[str]:
    """One a sentence, with its mend; none where all seems well.

    Args:
      unmixed: the innovations.
      params: the answer.
      misfit: by which the errors of its effects were raised, beyond what sampling explains.
      latents: concepts that were asked for, if a number of them was.
    """
    k, channels = unmixed.to_white_kd.shape
    spread_d = np.linalg.norm(np.linalg.pinv(unmixed.to_white_kd), axis=1)
    constant_d = spread_d <= CONSTANT * spread_d.max()
    lines = [] if latents == k or k == channels else [_rank(k, constant_d)]
    far = np.flatnonzero(~constant_d & (np.abs(unmixed.mean_d) > FARTHEST * spread_d))
    if len(far):
        lines.append(
            f"channels {some(far)} vary by less than 1/{FARTHEST:,.0f} of their mean, which float32 hardly resolves: "
            "subtract the mean first, in float64"
        )
    gaussian = np.flatnonzero(nearly_gaussian(unmixed.stein_k, unmixed.tokens))
    if len(gaussian) > 1:
        lines.append(
            f"z is not identified: {unmixed.tokens:,.0f} tokens cannot tell {len(gaussian)} of {k} innovations from "
            f"Gaussian ones (one may be), and any rotation of those explains the data as well. Concepts "
            f"{some(gaussian)}, and every effect from or to them, mean nothing by themselves, whatever their standard "
            "errors: give more tokens, or take it that no method can tell"
        )
    lines += of_ica(k, unmixed.tokens, unmixed.settled)
    lines += of_misfit(misfit)
    radius = float(jax.jit(spectral_radius)(params.process))
    if not radius < 1:
        lines.append(
            f"the process found is unstable, it grows by {radius:.4f} a token, as with a trend or a unit root: "
            "difference the activations, or give documents that start anew"
        )
    return lines


def _rank(latents: int, constant_d: np.ndarray) -> str:
    constant = np.flatnonzero(constant_d)
    why = f"channels {some(constant)} are constant or nearly so" if len(constant) else "some are mixtures of others"
    return (
        f"activations of {len(constant_d)} channels have rank {latents} in the first sequences: {why}, unless an "
        "outlier, a channel's unit or the order of the sequences hides what they hold. So many concepts are sought: if "
        f"that is as it should be, say so by latents={latents}"
    )
