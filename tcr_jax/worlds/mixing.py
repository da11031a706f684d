"""The true dictionary A [d, k], its columns of unit norm, and its pseudo-inverse.

Made on the host, so that a seed means the same truth on every device.
"""

import numpy as np
import scipy.fft
import scipy.linalg

from tcr_jax.worlds.config import WorldConfig


def draw_mixing(config: WorldConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A [d, k] and A^+ [k, d], float32: a rotation for the paper, Gaussian columns, or a given condition number."""
    d, k = config.channels, config.latents
    if config.graph == "paper" and d == k and config.condition == 1:
        rotation_dk = special_orthogonal(rng, k).astype(np.float32)
        return rotation_dk, np.ascontiguousarray(rotation_dk.T)
    if config.condition == 0:
        a_dk = rng.standard_normal((d, k))
        a_dk /= np.linalg.norm(a_dk, axis=0)
        return a_dk.astype(np.float32), scipy.linalg.pinv(a_dk).astype(np.float32)
    return _conditioned(d, k, config.condition, rng)


def special_orthogonal(rng: np.random.Generator, size: int) -> np.ndarray:
    """A rotation uniform on SO(size): QR of a Gaussian matrix, signs fixed (Mezzadri 2007, math-ph/0609050)."""
    q_nn, r_nn = np.linalg.qr(rng.standard_normal((size, size)))
    q_nn *= np.sign(np.diagonal(r_nn))
    if np.linalg.slogdet(q_nn)[0] < 0:
        q_nn[:, 0] *= -1
    return q_nn


def _conditioned(d: int, k: int, condition: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Singular values geometric from the largest to the smallest, turned at random on both sides; and the inverse."""
    value_r = condition ** -np.linspace(0, 1, min(d, k))
    value_r *= np.sqrt(k / np.square(value_r).sum())
    a_kd, inverse_kd = np.zeros((2, k, d), np.float32)
    np.fill_diagonal(a_kd, value_r)
    np.fill_diagonal(inverse_kd, 1 / value_r)
    for axis, size in enumerate((k, d)):
        for _ in range(3):
            # The cosine transform of random signs turns in n^2 log n, where a uniform rotation takes n^3.
            sign_n = np.expand_dims(rng.choice(np.array([-1, 1], np.float32), size), 1 - axis)
            a_kd, inverse_kd = (
                scipy.fft.dct(sign_n * rows, axis=axis, norm="ortho", overwrite_x=True) for rows in (a_kd, inverse_kd)
            )
    _equalise_rows(a_kd, inverse_kd)
    return np.ascontiguousarray(a_kd.T), inverse_kd


def _equalise_rows(a_kd: np.ndarray, inverse_kd: np.ndarray) -> None:
    """Turns pairs of rows, in place, until all of A^T have unit norm: singular values stay as they are.

    Each turn takes one row below and one above unit norm and makes the first exact (Davies and Higham 2000,
    "Numerically stable generation of correlation matrices"). The pseudo-inverse turns alike.
    """
    square_k = np.square(a_kd, dtype=np.float64).sum(axis=1)
    below, above = list(np.flatnonzero(square_k < 1)), list(np.flatnonzero(square_k > 1))
    while below and above:
        i, j = below.pop(), above.pop()
        cross = float(a_kd[i] @ a_kd[j])
        root = np.sqrt(cross**2 - (square_k[i] - 1) * (square_k[j] - 1))
        tangent = (1 - square_k[i]) / (cross + np.copysign(root, cross))  # of |cos a_i + sin a_j| = 1
        cos = 1 / np.hypot(1, tangent)
        sin = tangent * cos
        for rows in (a_kd, inverse_kd):
            rows[i], rows[j] = cos * rows[i] + sin * rows[j], cos * rows[j] - sin * rows[i]
        square_k[j] += square_k[i] - 1
        (below if square_k[j] < 1 else above).append(j)
    norm_k1 = np.linalg.norm(a_kd, axis=1, keepdims=True)  # 1, but for what float32 lost on the way
    a_kd /= norm_k1
    inverse_kd *= norm_k1
