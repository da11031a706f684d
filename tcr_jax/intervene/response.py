"""What editing one concept at one token does to all concepts, there and at the tokens after it."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple, get_args

import jax
import numpy as np
import torch
from transformers import PreTrainedModel

from tcr_jax.dictionary import encode, preactivate
from tcr_jax.intervene.overlap import Asked
from tcr_jax.intervene.passages import Passage
from tcr_jax.intervene.run_on import remember_sites, run_on
from tcr_jax.intervene.sites import EditKind, Site
from tcr_jax.params import Dictionary
from tcr_jax.typing import Array

ROWS = 256  # edited runs encoded at a time: one shape, so compiled once


class Effect(NamedTuple):
    """Mean over the occurrences of every row `n`, and its standard error; index 0 of `h` is the edited token."""

    mean_nhk: np.ndarray
    error_nhk: np.ndarray


class Response(NamedTuple):
    """The language model's answer to edits of concepts, a row for each source and lag that was asked about.

    A row's tokens were chosen for its lag; at other lags it answers for tokens that were not chosen for them.
    """

    source_n: np.ndarray
    lag_n: np.ndarray
    count_n: np.ndarray  # occurrences
    code: Effect  # change of z
    preactivation: Effect  # change of y, before any concept is switched off

    @property
    def asked(self) -> list[Asked]:
        """Source and lag of each row."""
        return list(zip(self.source_n.tolist(), self.lag_n.tolist(), strict=True))

    @property
    def dose_n(self) -> np.ndarray:
        """Mean change of each row's source itself, at the edited token."""
        return self.code.mean_nhk[np.arange(len(self.source_n)), 0, self.source_n]

    @property
    def raised_n(self) -> np.ndarray:
        """The same of its pre-activation."""
        return self.preactivation.mean_nhk[np.arange(len(self.source_n)), 0, self.source_n]


def respond(
    model: PreTrainedModel,
    dictionary: Dictionary,
    passages: Sequence[Passage],
    sites: Sequence[Site],
    direction_kd: np.ndarray,
    *,
    edited_layer: int,
    layer: int,
    horizon: int,
    on_site: Callable[[], None] | None = None,
) -> dict[EditKind, Response]:
    """Runs the model on from every site with each of its edits, and once without, and takes the differences.

    An edit adds amount * direction_kd[source] to the residual stream after block `edited_layer`, at the site's token
    alone. Occurrences count as independent in the standard errors: `sites` has them from different passages. Returns a
    response for each kind of edit; sites of both are best given at once, as every passage is then read once.

    Args:
      model: the language model.
      dictionary: of the residual stream after block `layer`.
      passages: that the sites number.
      sites: from `removals` or `additions`.
      direction_kd: what one unit of each concept is at the edited layer, in raw units; see `carry`.
      edited_layer: before `layer`, so that attention can take the edit to later tokens.
      layer: the dictionary's.
      horizon: tokens after the edit that are measured.
      on_site: called after each site.

    Raises:
      ValueError: the layers are not in order.
    """
    if not edited_layer < layer:
        raise ValueError(
            f"edited_layer={edited_layer} must be before the dictionary's layer {layer}: at that layer itself "
            "an edit of one token cannot reach another"
        )
    alike = {edit: [site for site in sites if site.edit == edit] for edit in get_args(EditKind)}
    sums = {edit: _Sums(dictionary, members, horizon) for edit, members in alike.items() if members}
    for site, text in remember_sites(model, passages, sites, edited_layer=edited_layer, layer=layer):
        change_nd = site.amount_n[:, None] * direction_kd[site.source_n]
        change_nd = np.concatenate([np.zeros_like(change_nd[:1]), change_nd])  # the first run is left as it is
        with torch.no_grad():
            x_nhd = run_on(
                model,
                text,
                start=site.position,
                horizon=horizon,
                change_nd=torch.as_tensor(change_nd, dtype=torch.float32, device=model.device),
            )
        sums[site.edit].add(site, x_nhd.float().cpu().numpy())
        if on_site is not None:
            on_site()
    return {edit: total.response() for edit, total in sums.items()}


class _Sums:
    """Sums of changes and of their squares for all that is asked, encoded `ROWS` runs at a time."""

    def __init__(self, dictionary: Dictionary, sites: Sequence[Site], horizon: int) -> None:
        pairs = (zip(site.source_n.tolist(), site.lag_n.tolist(), strict=True) for site in sites)
        asked = sorted(set(itertools.chain.from_iterable(pairs)))
        self.dictionary, self.row = dictionary, {pair: row for row, pair in enumerate(asked)}
        shape = (2, len(asked), horizon + 1, len(dictionary.encoder_kd))  # of code and preactivation
        self.count_n = np.zeros(len(asked), int)
        self.sum, self.square = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
        self.waiting: list[tuple[int, np.ndarray, np.ndarray]] = []

    def add(self, site: Site, x_nhd: np.ndarray) -> None:
        """Runs of a site's edits, behind the run without any."""
        pairs = zip(site.source_n.tolist(), site.lag_n.tolist(), strict=True)
        self.waiting += [(self.row[pair], x_nhd[0], x_hd) for pair, x_hd in zip(pairs, x_nhd[1:], strict=True)]
        while len(self.waiting) >= ROWS:
            self._encode(self.waiting[:ROWS])
            del self.waiting[:ROWS]

    def response(self) -> Response:
        if self.waiting:
            self._encode(self.waiting)
            self.waiting = []
        count_n11 = self.count_n[:, None, None]
        mean = self.sum / count_n11
        spread = np.maximum(self.square / count_n11 - mean**2, 0) * count_n11 / np.maximum(count_n11 - 1, 1)
        error = np.where(count_n11 > 1, np.sqrt(spread / count_n11), np.inf)
        code, preactivation = (Effect(mean[n], error[n]) for n in range(2))
        source_n, lag_n = np.array(list(self.row)).T
        return Response(source_n, lag_n, self.count_n, code, preactivation)

    def _encode(self, rows: list[tuple[int, np.ndarray, np.ndarray]]) -> None:
        padded = rows + rows[:1] * (ROWS - len(rows))
        before_nhd, after_nhd = (np.stack([row[part] for row in padded]) for part in (1, 2))
        changes = np.asarray(_changes(self.dictionary, before_nhd, after_nhd))
        for row, (at, _, _) in enumerate(rows):
            self.count_n[at] += 1
            self.sum[:, at] += changes[:, row]
            self.square[:, at] += changes[:, row] ** 2


@jax.jit
def _changes(dictionary: Dictionary, before_nhd: Array, after_nhd: Array) -> jax.Array:
    """Changes of z, and of y."""
    before_nhk, after_nhk = preactivate(dictionary, before_nhd), preactivate(dictionary, after_nhd)
    code_nhk = encode(dictionary, after_nhd) - encode(dictionary, before_nhd)
    return jax.numpy.stack([code_nhk, after_nhk - before_nhk])
