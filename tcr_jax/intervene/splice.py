"""Loss recovered: the language model's loss when the dictionary's reconstruction takes the activation's place."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import jax
import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel

from tcr_jax.dictionary import decode, encode
from tcr_jax.extract.shards import batches_by_length
from tcr_jax.intervene.edited_run import Edit, edited_run
from tcr_jax.intervene.passages import Passage
from tcr_jax.params import Dictionary
from tcr_jax.typing import Array

WINDOW = 16  # batches that are sorted by length together


@torch.no_grad()
def splice(
    model: PreTrainedModel,
    dictionary: Dictionary,
    passages: Iterable[Passage],
    layer: int,
    *,
    batch: int = 8,
    on_batch: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Cross-entropy of the next token in nats, over the positions that the store kept, and what of it is recovered.

    At those positions the residual stream after block `layer` is, in turn, left as it is (clean), replaced by its
    reconstruction (spliced), by the mean activation (mean), and by zero (zero). Other positions, where attention is
    parked, are left as they are. With an ablation to the mean or to zero,

        recovered = (CE_ablated - CE_spliced) / (CE_ablated - CE_clean):   1 is perfect, 0 no better than the ablation.

    Zero is the usual yardstick of sparse autoencoders; the mean is the stricter one.

    Args:
      model: the language model.
      dictionary: of the residual stream after block `layer`.
      passages: of held-out documents.
      layer: the dictionary's.
      batch: passages in a forward pass.
      on_batch: called after each.

    Returns:
      `ce_clean`, `ce_spliced`, `ce_mean`, `ce_zero`, `loss_recovered` (mean), `loss_recovered_zero`, `splice_tokens`.

    Raises:
      ValueError: no position was kept whose next token is known.
    """
    mean_d = torch.tensor(np.asarray(dictionary.mean_d))
    by_name: dict[str, Edit] = {
        "clean": lambda x_btd: x_btd,
        "spliced": lambda x_btd: torch.tensor(np.asarray(_again(dictionary, x_btd.float().cpu().numpy()))),
        "mean": lambda x_btd: mean_d.expand(x_btd.shape),
        "zero": torch.zeros_like,
    }
    total, tokens = dict.fromkeys(by_name, 0.0), 0
    for group in _groups(passages, batch):
        token_bt, kept_bt = _pad(group)
        kept_bt1 = torch.as_tensor(kept_bt, device=model.device)[..., None]

        def where_kept(by: Edit, kept_bt1: torch.Tensor = kept_bt1) -> Edit:
            return lambda x_btd: torch.where(kept_bt1, by(x_btd).to(x_btd), x_btd)

        scored_bt = kept_bt.copy()
        for row, passage in enumerate(group):
            scored_bt[row, len(passage.token_t) - 1 :] = False  # the next token is not known
        tokens += int(scored_bt.sum())
        for name, by in by_name.items():
            logits_btv = edited_run(model, token_bt, {layer: where_kept(by)}).logits_btv
            assert logits_btv is not None
            total[name] += _cross_entropy(logits_btv, token_bt, scored_bt)
        if on_batch is not None:
            on_batch()
    if not tokens:
        raise ValueError("no kept position with a token after it; give passages of held-out documents")
    ce = {name: value / tokens for name, value in total.items()}

    def recovered(ablated: str) -> float:
        return (ce[ablated] - ce["spliced"]) / (ce[ablated] - ce["clean"])

    shares = {"loss_recovered": recovered("mean"), "loss_recovered_zero": recovered("zero")}
    return {f"ce_{name}": value for name, value in ce.items()} | shares | {"splice_tokens": float(tokens)}


def _groups(passages: Iterable[Passage], batch: int) -> Iterator[list[Passage]]:
    """Batches of passages of about one length."""
    stream = iter(passages)
    while window := list(islice(stream, WINDOW * batch)):
        for indices in batches_by_length([len(passage.token_t) for passage in window], batch):
            yield [window[index] for index in indices]


def _pad(group: list[Passage]) -> tuple[np.ndarray, np.ndarray]:
    """token_bt and kept_bt, not kept where a passage has ended."""
    shape = len(group), max(len(passage.token_t) for passage in group)
    token_bt, kept_bt = np.zeros(shape, np.int32), np.zeros(shape, bool)
    for row, passage in enumerate(group):
        token_bt[row, : len(passage.token_t)] = passage.token_t
        kept_bt[row, : len(passage.token_t)] = passage.kept_t
    return token_bt, kept_bt


def _cross_entropy(logits_btv: torch.Tensor, token_bt: np.ndarray, scored_bt: np.ndarray) -> float:
    """Summed over the scored positions, each for the token after it."""
    scored = torch.as_tensor(scored_bt[:, :-1], device=logits_btv.device)
    following = torch.as_tensor(token_bt[:, 1:], dtype=torch.long, device=logits_btv.device)
    return float(functional.cross_entropy(logits_btv[:, :-1][scored].float(), following[scored], reduction="sum"))


@jax.jit
def _again(dictionary: Dictionary, x_btd: Array) -> jax.Array:
    """decode(encode(x))."""
    return decode(dictionary, encode(dictionary, x_btd))
