"""ICA finds planted concepts again from other documents, and tells the stable ones from what has no direction."""

import jax
import numpy as np
import pytest

from tcr_jax.dictionary import decode, encode
from tcr_jax.yardsticks.concepts import ica_concepts, match_by_code, recurrence, resampled

RNG = np.random.default_rng(0)
TOKENS, D, LAPLACE, GAUSSIAN = 6000, 8, 3, 3
MIXING_KD = RNG.normal(size=(LAPLACE + GAUSSIAN, D))


def written(seed: int) -> np.ndarray:
    """Three Laplace concepts and three Gaussian ones, whose directions nothing tells apart."""
    rng = np.random.default_rng(seed)
    z_nk = np.concatenate([rng.laplace(size=(TOKENS, LAPLACE)) / 2**0.5, rng.normal(size=(TOKENS, GAUSSIAN))], axis=1)
    return (z_nk @ MIXING_KD + 1).astype(np.float32)


def test_only_what_is_not_gaussian_recurs() -> None:
    """Over bootstraps of the documents exactly the Laplace concepts score above .95, and they are the planted ones.

    Gaussian ones score .80 to .88 over twelve bootstraps; over three chance takes them to .94 and more.
    """
    x_nd, document_n = written(0), np.arange(TOKENS) // 50
    rng, keys = np.random.default_rng(1), jax.random.split(jax.random.key(0), 13)
    reference = ica_concepts(x_nd, LAPLACE + GAUSSIAN, keys[0])
    again = [ica_concepts(x_nd[resampled(document_n, rng)], LAPLACE + GAUSSIAN, key) for key in keys[1:]]
    stable_k = recurrence(reference, again, x_nd) > 0.95
    assert stable_k.sum() == LAPLACE
    unit_kd = MIXING_KD[:LAPLACE] / np.linalg.norm(MIXING_KD[:LAPLACE], axis=1, keepdims=True)
    cosine_kk = np.abs(np.asarray(reference.decoder_kd)[stable_k] @ unit_kd.T)
    np.testing.assert_allclose(np.sort(cosine_kk.max(axis=0)), 1, atol=0.02)


def test_a_dictionary_like_any_other() -> None:
    """Decoder rows have unit norm, decoding what was encoded gives x back, and matching ignores order and sign."""
    x_nd = written(2)
    first, second = (ica_concepts(x_nd, LAPLACE + GAUSSIAN, jax.random.key(seed)) for seed in (0, 0))
    np.testing.assert_allclose(np.linalg.norm(first.decoder_kd, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(decode(first, encode(first, x_nd)), x_nd, atol=1e-3)
    order, sign = RNG.permutation(LAPLACE + GAUSSIAN), RNG.choice([-1.0, 1.0], LAPLACE + GAUSSIAN)
    turned = second.replace(encoder_kd=(second.encoder_kd * sign[:, None])[order])
    matching = match_by_code(first, turned, x_nd)
    np.testing.assert_array_equal(order[matching.found_k], np.arange(LAPLACE + GAUSSIAN))
    np.testing.assert_allclose(matching.similarity_k, sign, atol=1e-4)


def test_bootstrap_draws_whole_documents() -> None:
    """Every document is there whole, as often as it was drawn; as many are drawn as there are."""
    document_n = np.random.default_rng(0).permutation(np.repeat(np.arange(40), np.arange(1, 41)))
    drawn = document_n[resampled(document_n, np.random.default_rng(1))]
    times, rest = np.divmod(np.bincount(drawn, minlength=40), np.arange(1, 41))
    assert not rest.any() and times.sum() == 40 and times.max() > 1 and (times == 0).any()


def test_too_few_dimensions() -> None:
    """Asked for more concepts than the activations have dimensions, it says so."""
    with pytest.raises(ValueError, match="rank 6"):
        ica_concepts(written(0), LAPLACE + GAUSSIAN + 1, jax.random.key(0))
