"""White coordinates: the first step, which also finds out whether as many concepts can be told apart at all."""

from typing import NamedTuple

import numpy as np

from tcr_jax.identify.errors import NotIdentifiable
from tcr_jax.identify.words import some

RANK_TOLERANCE = 1e-9
"""Eigenvalues of the covariance below this share of the largest count as zero: float32 activations hold no more."""


class Whitening(NamedTuple):
    """w = to_white_kd (x - mean_d) has about unit covariance."""

    mean_d: np.ndarray  # float64
    to_white_kd: np.ndarray  # float64
    spectrum_d: np.ndarray  # eigenvalues of the covariance, largest first


def whiten(x_nd: np.ndarray, latents: int | None) -> Whitening:
    """Principal components of the first tokens, in double precision.

    Only a change of coordinates that keeps later float32 sums accurate: it need not whiten all of the data exactly.
    Without it a condition number of 4,000 of A is already too much. Where there are more channels than concepts, the
    weakest principal components are dropped.

    Args:
      x_nd: activations of some tokens.
      latents: concepts (k); by default the numerical rank.

    Raises:
      NotIdentifiable: a channel is not finite, or the activations span fewer than `latents` dimensions, or none.
    """
    tokens, channels = x_nd.shape
    if latents is not None and not 1 <= latents <= channels:
        raise NotIdentifiable(
            f"latents={latents} concepts cannot be read linearly from {channels} channels: set it from 1 to {channels}"
        )
    broken = np.flatnonzero(~np.isfinite(x_nd).all(axis=0))
    if len(broken):
        raise NotIdentifiable(
            f"channels {some(broken)} hold NaN or infinity: clean the activations, or drop the tokens"
        )
    x_nd = np.asarray(x_nd, np.float64)
    constant = np.flatnonzero(np.ptp(x_nd, axis=0) == 0)
    if len(constant) == channels:
        raise NotIdentifiable(f"all {channels} channels are constant over {tokens:,} tokens: give other activations")
    mean_d = x_nd.mean(axis=0)
    eigenvalues, vectors = np.linalg.eigh(np.cov(x_nd.T, bias=True).reshape(channels, channels))
    spectrum_d, vectors_dd = np.maximum(eigenvalues[::-1], 0), vectors[:, ::-1]
    rank = int((spectrum_d > RANK_TOLERANCE * spectrum_d[0]).sum())
    k = rank if latents is None else latents
    if rank < k:
        why = f"channels {some(constant)} are constant" if len(constant) else "channels are linear mixtures of others"
        mend = f"{why}; lower latents to {rank} or less, or shuffle the sequences if later ones hold more"
        raise NotIdentifiable(
            f"latents={k} concepts cannot be read linearly from activations of {channels} channels whose first "
            f"{tokens:,} tokens have rank {rank}: "
            + (f"{tokens:,} tokens are too few; give more" if tokens <= k else mend)
        )
    return Whitening(mean_d, (vectors_dd[:, :k] / np.sqrt(spectrum_d[:k])).T, spectrum_d)
