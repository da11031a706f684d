"""Sparse probing: how well the label of a text can be read from one, two or five concepts.

After Gurnee et al. 2023 (arXiv 2305.01610), the way SAEBench does it (Karvonen et al. 2025, arXiv 2503.09532): a text
is the mean of its tokens' codes; for each label, the concepts whose means differ most between its texts and others are
chosen on training texts; a logistic regression on them is scored on test texts.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from tcr_jax.dictionary import encode
from tcr_jax.params import Dictionary
from tcr_jax.store import Batch
from tcr_jax.typing import Array


class Pooled(NamedTuple):
    """One row a text (`n`): means over its kept tokens."""

    z_nk: np.ndarray  # of the codes
    x_nd: np.ndarray  # of the activations, in units of the dictionary's normalisation
    tokens_n: np.ndarray  # how many tokens


def pool(dictionary: Dictionary, batches: Iterable[Batch], texts: int) -> Pooled:
    """Means over each text's kept tokens; a text is a document, numbered below `texts`. Zeros where it has no token."""
    total: Pooled | None = None
    for batch in batches:
        sums = Pooled(*map(np.asarray, _sums(dictionary, batch.x_btd, batch.document_bt, texts)))
        total = sums if total is None else Pooled(*map(np.add, total, sums))
    if total is None:
        raise ValueError("no batch to pool; give batches of a split that holds documents")
    count_n1 = np.maximum(total.tokens_n, 1)[:, None]
    return Pooled(total.z_nk / count_n1, total.x_nd / count_n1, total.tokens_n)


def probe(
    pooled: Pooled, label_n: np.ndarray, test_n: np.ndarray, *, concepts: Sequence[int] = (1, 2, 5), seed: int = 0
) -> dict[str, float]:
    """Accuracy on test texts of telling each label from all others; the mean over labels.

    For each label as many other texts are drawn as it has, or as many of its own where the others are fewer, so that
    chance is one half: in training and in test.

    Args:
      pooled: from `pool`.
      label_n: label of each text, from 0.
      test_n: whether a text is for the test; the others are for training.
      concepts: how many concepts a probe may read.
      seed: of the draw.

    Returns:
      `concepts_1`, `concepts_2`, ...; `activations`: the same regression on all channels of the mean activation;
      `majority`: always the more frequent answer; `labels`; `test_texts`: those drawn, a label, on average.

    Raises:
      ValueError: a label has fewer than two texts, or all of them, in training or in test.
    """
    label_n, test_n, rng = np.asarray(label_n), np.asarray(test_n, bool), np.random.default_rng(seed)
    present_n = pooled.tokens_n > 0
    rows = []
    for label in np.unique(label_n[present_n]):
        is_label_n = label_n == label
        train, test = (_balanced(is_label_n, present_n & part, int(label), rng) for part in (~test_n, test_n))
        split = is_label_n, train, test
        difference_k = pooled.z_nk[train][is_label_n[train]].mean(0) - pooled.z_nk[train][~is_label_n[train]].mean(0)
        order_k = np.argsort(-np.abs(difference_k), kind="stable")
        row = {f"concepts_{count}": _accuracy(pooled.z_nk[:, order_k[:count]], *split) for count in concepts}
        row |= {"activations": _accuracy(pooled.x_nd, *split), "majority": _majority(is_label_n[test])}
        rows.append(row | {"test_texts": len(test)})
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} | {"labels": float(len(rows))}


def _majority(is_label_n: np.ndarray) -> float:
    return max(is_label_n.mean(), 1 - is_label_n.mean())


def _balanced(is_label_n: np.ndarray, part_n: np.ndarray, label: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of texts of this part: as many with the label as without."""
    sides = [np.flatnonzero(part_n & side) for side in (is_label_n, ~is_label_n)]
    count = min(map(len, sides))
    if count < 2:
        raise ValueError(
            f"label {label}: {len(sides[0])} texts have it and {len(sides[1])} do not, in training or in test; "
            "give at least two of each in both"
        )
    return np.concatenate([rng.permutation(side)[:count] for side in sides])


def _accuracy(v_nd: np.ndarray, is_label_n: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Of a logistic regression on standardised v: min_w,b sum log(1 + exp(-s (w v + b))) + ||w||^2 / 2, s = 1 or -1."""
    mean_d, std_d = v_nd[train].mean(0), v_nd[train].std(0)
    design_nd = np.pad((v_nd - mean_d) / np.where(std_d > 0, std_d, 1), [(0, 0), (0, 1)], constant_values=1)
    sign_n, design = np.where(is_label_n, 1.0, -1.0)[train], design_nd[train].astype(np.float64)

    def loss(weight: np.ndarray) -> tuple[float, np.ndarray]:
        price = weight.copy()
        price[-1] = 0  # the intercept is not penalised
        margin_n = sign_n * (design @ weight)
        return np.logaddexp(0, -margin_n).sum() + price @ price / 2, price - design.T @ (sign_n * expit(-margin_n))

    weight = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    return float(((design_nd[test] @ weight > 0) == is_label_n[test]).mean())


@partial(jax.jit, static_argnames="texts")
def _sums(dictionary: Dictionary, x_btd: Array, document_bt: Array, texts: int) -> tuple[jax.Array, ...]:
    """Sums over each text's kept tokens, of one batch."""
    kept_bt = document_bt >= 0
    x_btd = jnp.where(kept_bt[..., None], jnp.asarray(x_btd, jnp.float32), dictionary.mean_d)
    segment = jnp.where(kept_bt, document_bt, texts).reshape(-1)

    def total(values_bt: jax.Array) -> jax.Array:
        flat = values_bt.reshape(segment.size, -1)
        return jax.ops.segment_sum(flat, segment, texts + 1)[:texts]

    scaled_btd = (x_btd - dictionary.mean_d) / dictionary.scale
    return total(encode(dictionary, x_btd)), total(scaled_btd), total(kept_bt.astype(jnp.float32))[:, 0]
