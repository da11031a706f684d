"""How much of a held-out token is predicted: R^2 of its code z, and of the activation x through the decoded prediction.

A predictor is any function of a batch's codes: the process, or a control. All are scored on the same tokens, those with
their whole history in their own document, pooled and by domain.
"""

import functools
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.dictionary import decode, encode
from tcr_jax.params import Dictionary, Process
from tcr_jax.process import history, predict
from tcr_jax.store import Batch
from tcr_jax.typing import Array
from tcr_jax.yardsticks.folders import POOLED, check_names

Predictor = Callable[[Array, Batch], Array]
"""(z_btk, batch) -> the prediction of z_btk."""


def from_process(process: Process) -> Predictor:
    """sum_l B_l z_{t-l} + M z_t + c."""

    def predicted(z_btk: Array, batch: Batch) -> Array:
        return _both(process, z_btk, jnp.asarray(batch.document_bt))

    return predicted


def score(
    dictionary: Dictionary,
    predictors: Mapping[str, Predictor],
    batches: Iterable[Batch],
    lags: int,
    domains: Mapping[int, str] | None = None,
) -> dict[str, float]:
    """One pass over held-out batches.

    R^2 = 1 - sum ||v - v^||^2 / sum ||v - mean v||^2 with v = z or x and x^ = decode(z^); pooled over concepts or
    channels. The mean is the best constant in hindsight, of the domain itself where a domain is scored.

    Args:
      dictionary: what encodes and decodes.
      predictors: by name.
      batches: of held-out documents.
      lags: a token is scored where it has so many earlier ones in its own document: the longest history of all.
      domains: of each document, by number; the documents that it lacks count in the pooled figures alone.

    Returns:
      `DOMAIN/PREDICTOR/r2_z` and `../r2_x`, and `DOMAIN/tokens`.

    Raises:
      ValueError: no token of the batches has so long a history, or a domain is called "all".
    """
    domains = {} if domains is None else domains
    check_names(domains)
    names = sorted(set(domains.values()))
    number = {name: index for index, name in enumerate(names)}
    size = len(names) + 1  # the last: no domain
    variables = {"z": dictionary.encoder_kd.shape[0], "x": dictionary.encoder_kd.shape[1]}
    count_g = np.zeros(size)
    sums = {name: (np.zeros((size, width)), np.zeros(size)) for name, width in variables.items()}
    errors = {(name, kind): np.zeros(size) for name in predictors for kind in variables}
    for batch in batches:
        domain_bt = _domain_numbers(batch.document_bt, domains, number, size - 1)
        x_btd, z_btk, scored_bt = _encoded(dictionary, batch.x_btd, batch.document_bt, lags)
        member_gn = (domain_bt[None] == np.arange(size)[:, None, None]) & np.asarray(scored_bt)
        count_g += member_gn.sum(axis=(1, 2))
        for kind, values in (("z", z_btk), ("x", x_btd - dictionary.mean_d)):
            total_gv, square_g = sums[kind]
            new_gv, new_g = _sums(values, jnp.asarray(member_gn))
            total_gv += np.asarray(new_gv, np.float64)
            square_g += np.asarray(new_g, np.float64)
        for name, predictor in predictors.items():
            error_z, error_x = _errors(dictionary, z_btk, x_btd, predictor(z_btk, batch), jnp.asarray(member_gn))
            errors[name, "z"] += np.asarray(error_z, np.float64)
            errors[name, "x"] += np.asarray(error_x, np.float64)
    if not count_g.sum():
        raise ValueError(f"lags={lags}: no held-out token has so many earlier ones in its own document; lower lags")
    parts = {POOLED: np.ones(size, bool)}
    parts |= {name: np.arange(size) == number[name] for name in names if count_g[number[name]]}
    figures: dict[str, float] = {}
    for domain, part_g in parts.items():
        tokens = count_g[part_g].sum()
        figures[f"{domain}/tokens"] = float(tokens)
        for kind, (total_gv, square_g) in sums.items():
            deviation = square_g[part_g].sum() - np.square(total_gv[part_g].sum(axis=0)).sum() / tokens
            for name in predictors:
                figures[f"{domain}/{name}/r2_{kind}"] = float(1 - errors[name, kind][part_g].sum() / deviation)
    return figures


def _domain_numbers(
    document_bt: np.ndarray, domains: Mapping[int, str], number: Mapping[str, int], other: int
) -> np.ndarray:
    document_n, place_bt = np.unique(document_bt, return_inverse=True)
    domain_n = np.array([number[domains[d]] if d in domains else other for d in document_n.tolist()])
    return domain_n[place_bt].reshape(np.shape(document_bt))


@jax.jit
def _both(process: Process, z_btk: Array, document_bt: Array) -> Array:
    past_btk, present_btk = jax.vmap(predict, (None, 0, 0))(process, z_btk, document_bt)
    return past_btk + present_btk


@jax.jit
def _sums(values_btv: Array, member_gbt: Array) -> tuple[Array, Array]:
    """Sum of v and of ||v||^2 over the scored tokens of each domain."""
    member_gbt = member_gbt.astype(jnp.float32)
    square_bt = jnp.square(values_btv).sum(axis=-1)
    total_gv = jnp.einsum("gbt,btv->gv", member_gbt, values_btv, precision="highest")
    return total_gv, jnp.einsum("gbt,bt->g", member_gbt, square_bt, precision="highest")


@jax.jit
def _errors(dictionary: Dictionary, z_btk: Array, x_btd: Array, guess_btk: Array, member_gbt: Array) -> tuple:
    """||z - z^||^2 and ||x - decode(z^)||^2, summed by domain."""
    wrong_z = jnp.square(z_btk - guess_btk).sum(axis=-1)
    wrong_x = jnp.square(x_btd - decode(dictionary, guess_btk)).sum(axis=-1)
    return tuple(jnp.where(member_gbt, wrong_bt, 0).sum(axis=(1, 2)) for wrong_bt in (wrong_z, wrong_x))


@functools.partial(jax.jit, static_argnames="lags")
def _encoded(dictionary: Dictionary, x_btd: Array, document_bt: Array, lags: int) -> tuple[Array, Array, Array]:
    """Activations and codes, the mean and zero where dropped, and which tokens are scored."""
    kept_bt1 = document_bt[..., None] >= 0
    x_btd = jnp.where(kept_bt1, x_btd.astype(jnp.float32), dictionary.mean_d)
    z_btk = jnp.where(kept_bt1, encode(dictionary, x_btd), 0)
    return x_btd, z_btk, jax.vmap(history, (0, None))(document_bt, lags)
