"""The ladder of predictions of one dictionary, from nothing to everything, with every control beside it."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.closed_form import CodeMoments, code_moments, collect_moments, fit_decoded, fit_moments, fit_support
from tcr_jax.closed_form.fit import present_order
from tcr_jax.closed_form.moments import active_latents
from tcr_jax.dictionary import encode
from tcr_jax.params import Dictionary, Process
from tcr_jax.store import Batch
from tcr_jax.typing import Array
from tcr_jax.yardsticks.controls import activations, co_occurring, distant, random_basis
from tcr_jax.yardsticks.lexical import GroupMeans, bigram, current, group_means, previous
from tcr_jax.yardsticks.prediction import Predictor, from_process, score

Pass = Callable[[], Iterable[Batch]]
"""Batches of a split, from the start at each call."""


def prediction_ladder(
    dictionary: Dictionary,
    train: Pass,
    heldout: Pass,
    *,
    lags: int,
    parents: int = 32,
    ridge: float = 0.03,
    distance: int = 100,
    processes: Mapping[str, Process] | None = None,
    domains: Mapping[int, str] | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """R^2 of z and of x on held-out documents, everything fitted in closed form on training documents.

    Scored are tokens with the whole history of the longest process in their own document.

    `nothing`: the training mean. `own past`, `past` (B), `present` (M), `both`: with all sources, and with at most
    `parents` a concept; `past, for x` with as many on average, fitted to the decoded prediction. `lift`: as many
    parents, chosen by co-occurrence instead. `token`, `previous token`, `bigram`: token identity. `token + M`: M fitted
    on what token identity leaves, added to it. `VAR`: the dense autoregression of x. `random basis`: `past` on random
    directions. `distant`: lag 1, `distance` tokens away; scored on other tokens, with its own `nothing`.

    Args:
      dictionary: frozen.
      train: batches to fit on.
      heldout: batches to score on.
      lags: tokens back.
      parents: of the sparse fits.
      ridge: penalty of a weight, as a share of its source's variance.
      distance: of the distant past, in tokens.
      processes: others on this dictionary, by name, such as the one it was trained with.
      domains: of documents, by number.
      seed: of the random basis.

    Returns:
      As `prediction.score`.
    """

    fits = dict(processes or {})
    longest = max([lags, *(len(process.b_lkk) for process in fits.values() if process.b_lkk is not None)])

    def scored(dictionary: Dictionary, predictors: Mapping[str, Predictor]) -> dict[str, float]:
        return score(dictionary, predictors, heldout(), longest, domains)

    pairs = collect_moments(dictionary, distant(train(), distance), 1)  # first: documents may be too short for it
    moments = collect_moments(dictionary, train(), lags, decoded=True)
    rank_k = present_order(moments)
    fits |= fitted(moments, rank_k, parents, ridge)
    fires = code_moments(_fires(dictionary, train()), lags, active_latents(dictionary))
    fits["past, for x"] = fit_decoded(dictionary, moments, parents=parents, ridge=ridge)
    fits["lift"] = fit_support(moments, co_occurring(fires, parents), ridge=ridge)
    words = {"previous token": group_means(dictionary, train(), previous)}
    words["token"] = group_means(dictionary, train(), current)
    words["bigram"] = group_means(dictionary, train(), bigram, parent=words["token"])
    predictors: dict[str, Predictor] = {name: from_process(process) for name, process in fits.items()}
    figures = scored(dictionary, predictors | words | {"token + M": beyond(dictionary, words["token"], train(), ridge)})
    for name, other in (
        ("VAR", activations(dictionary)),
        ("random basis", random_basis(dictionary, jax.random.key(seed), float(fires.sum_lk[0].sum()) / fires.tokens)),
    ):
        process = fit_moments(collect_moments(other, train(), lags), ridge=ridge, parents=None)
        figures |= scored(other, {name: from_process(process)})
    far = {
        "distant": fit_moments(pairs, ridge=ridge, parents=parents),
        "distant, nothing": fit_support(pairs, np.full((pairs.latents, 1), -1)),
    }
    predictors = {name: from_process(process) for name, process in far.items()}
    return figures | {
        name: value
        for name, value in score(dictionary, predictors, distant(heldout(), distance), 1, domains).items()
        if not name.endswith("/tokens")
    }


def fitted(moments: CodeMoments, rank_k: Array, parents: int, ridge: float) -> dict[str, Process]:
    """The rungs that are processes."""
    k = moments.latents
    own_kl = np.arange(k)[:, None] + k * np.arange(1, moments.lags + 1)
    fits = {
        "nothing": fit_support(moments, np.full((k, 1), -1)),
        "own past": fit_support(moments, own_kl, ridge=ridge),
    }
    for title, count in ((", all sources", None), ("", parents)):
        fits[f"past{title}"] = fit_moments(moments, ridge=ridge, parents=count)
        fits[f"present{title}"] = fit_moments(moments, lags=0, ridge=ridge, parents=count, rank_k=rank_k)
        fits[f"both{title}"] = fit_moments(moments, ridge=ridge, parents=count, rank_k=rank_k)
    return fits


def beyond(dictionary: Dictionary, words: GroupMeans, batches: Iterable[Batch], ridge: float) -> Predictor:
    """m(token) + M (z - m(token)) + c: what concepts of one token say of each other once its identity is known."""

    def left(batch: Batch) -> tuple[Array, Array]:
        z_btk = encode(dictionary, jnp.asarray(batch.x_btd))
        return z_btk - words(z_btk, batch), jnp.asarray(batch.document_bt)

    moments = code_moments(map(left, batches), 0, dictionary.encoder_kd.shape[0])
    predict = from_process(fit_moments(moments, ridge=ridge, parents=None, rank_k=present_order(moments)))

    def predicted(z_btk: Array, batch: Batch) -> Array:
        word_btk = words(z_btk, batch)
        return word_btk + predict(z_btk - word_btk, batch)

    return predicted


def _fires(dictionary: Dictionary, batches: Iterable[Batch]) -> Iterator[tuple[Array, Array]]:
    for batch in batches:
        yield jnp.float32(encode(dictionary, jnp.asarray(batch.x_btd)) != 0), jnp.asarray(batch.document_bt)
