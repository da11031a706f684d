"""Concepts that are cheap to find, and how sure documents make them: ICA, again and again on resampled documents."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.dictionary import encode
from tcr_jax.identify.ica import fast_ica
from tcr_jax.identify.whitening import whiten
from tcr_jax.params import Dictionary, linear_dictionary
from tcr_jax.scores.correlation import correlations
from tcr_jax.scores.matching import Matching, match
from tcr_jax.store import Store, ordered_batches
from tcr_jax.store.split import Split


def sample_tokens(store: Store, split: Split, heldout: float, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """(x_nd, document_n) of about `limit` kept tokens, contexts taken evenly from all over the split."""
    context = store.description.source.context
    batches = ordered_batches(store, split=split, heldout=heldout, batch=8, limit=max(1, limit // (8 * context)))
    parts = [(b.x_btd[b.document_bt >= 0], b.document_bt[b.document_bt >= 0]) for b in batches]
    return np.concatenate([x.astype(np.float32) for x, _ in parts]), np.concatenate([d for _, d in parts])


def ica_concepts(x_nd: np.ndarray, latents: int, key: jax.Array, iterations: int = 200) -> Dictionary:
    """The `latents` strongest principal components, turned to be as far from Gaussian as they can be.

    Raises:
      NotIdentifiable: there are fewer dimensions in `x_nd` than `latents`, or a channel is not finite.
    """
    white = whiten(x_nd, latents)
    white_nk = jnp.asarray((x_nd - white.mean_d.astype(np.float32)) @ white.to_white_kd.T.astype(np.float32))
    rotation_kk = np.asarray(fast_ica(white_nk, key, iterations).rotation_kk, np.float64)
    encoder_kd = rotation_kk @ white.to_white_kd
    decoder_kd = np.linalg.pinv(encoder_kd).T
    norm_k1 = np.linalg.norm(decoder_kd, axis=1, keepdims=True)
    return linear_dictionary(encoder_kd * norm_k1, decoder_kd / norm_k1, white.mean_d)


def match_by_code(first: Dictionary, second: Dictionary, x_nd: np.ndarray) -> Matching:
    """Pairs concepts by the |correlation| of their codes over the same tokens, the greatest in total."""
    samples_nd = jnp.asarray(x_nd)
    return match(correlations(encode(first, samples_nd), encode(second, samples_nd)))


def resampled(document_n: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Token numbers of a bootstrap sample: as many documents as there are, drawn with replacement, whole."""
    order_n = np.argsort(document_n, kind="stable")
    documents, start, count = np.unique(document_n[order_n], return_index=True, return_counts=True)
    drawn = rng.integers(0, len(documents), len(documents))
    return np.concatenate([order_n[start[d] : start[d] + count[d]] for d in drawn])


def recurrence(reference: Dictionary, again: Sequence[Dictionary], x_nd: np.ndarray) -> np.ndarray:
    """Each concept's mean |correlation| with its partner in dictionaries learned again, [k]."""
    return np.mean([np.abs(match_by_code(reference, other, x_nd).similarity_k) for other in again], axis=0)
