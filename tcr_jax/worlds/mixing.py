"""The true dictionary A [d, k], its columns of unit norm, and its pseudo-inverse."""

import numpy as np
import scipy.linalg

from tcr_jax.worlds.config import WorldConfig


def draw_mixing(config: WorldConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A [d, k] and A^+ [k, d], float32. Singular values are geometric from the largest to the smallest.

    Made on the host, so that a seed means the same truth on every device.
    """
    d, k = config.channels, config.latents
    if config.condition == 0:
        a_dk = rng.standard_normal((d, k))
        a_dk /= np.linalg.norm(a_dk, axis=0)
        return a_dk.astype(np.float32), scipy.linalg.pinv(a_dk).astype(np.float32)
    if config.condition == 1 and d == k:
        a_dk = special_orthogonal(rng, k)
        return a_dk, np.ascontiguousarray(a_dk.T)
    rank = min(d, k)
    value_r = np.float32(config.condition) ** -np.linspace(0, 1, rank, dtype=np.float32)
    value_r *= np.sqrt(k / np.square(value_r).sum())
    left_dr, right_kr = _orthonormal(rng, d, rank), _orthonormal(rng, k, rank)
    a_kd, inverse_kd = (right_kr * value_r) @ left_dr.T, (right_kr / value_r) @ left_dr.T
    _equalise_rows(a_kd, inverse_kd)
    return np.ascontiguousarray(a_kd.T), inverse_kd


def special_orthogonal(rng: np.random.Generator, size: int) -> np.ndarray:
    """A rotation uniform on SO(size) (QR of a Gaussian matrix, signs fixed: Mezzadri 2007, math-ph/0609050)."""
    q_nn = _orthonormal(rng, size, size)
    if np.linalg.slogdet(q_nn)[0] < 0:
        q_nn[:, 0] *= -1
    return q_nn


def _orthonormal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((rows, columns), dtype=np.float32))
    return q * np.sign(np.diagonal(r))


def _equalise_rows(a_kd: np.ndarray, inverse_kd: np.ndarray) -> None:
    """Rotates pairs of rows, in place, until all of A^T have unit norm: singular values stay as they are.

    Each rotation takes one row below and one above unit norm and makes the first exact (Davies and Higham 2000,
    "Numerically stable generation of correlation matrices"). The pseudo-inverse turns alike.
    """
    square_k = np.square(a_kd, dtype=np.float64).sum(axis=1)
    below, above = list(np.flatnonzero(square_k < 1)), list(np.flatnonzero(square_k > 1))
    while below and above:
        i, j = below.pop(), above.pop()
        cross = float(a_kd[i] @ a_kd[j])
        # |cos a_i + sin a_j|^2 = 1, a quadratic in tan
        root = np.sqrt(max(cross**2 - (square_k[i] - 1) * (square_k[j] - 1), 0))
        tangent = (1 - square_k[i]) / (cross + np.copysign(root, cross))
        cos = 1 / np.hypot(1, tangent)
        sin = tangent * cos
        for rows in (a_kd, inverse_kd):
            rows[i], rows[j] = cos * rows[i] + sin * rows[j], cos * rows[j] - sin * rows[i]
        square_k[j] += square_k[i] - 1
        square_k[i] = 1
        (below if square_k[j] < 1 else above).append(j)
