"""The whole extraction: plan, model, shards, store. Killed and started again, or shared, it gives the same store."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tcr_jax.extract.config import ExtractConfig
from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.language_model import exact_revision, fast_dtype, load_model, load_tokenizer
from tcr_jax.extract.pieces import printable_pieces
from tcr_jax.extract.plan import Plan, make_plan, split_evenly
from tcr_jax.extract.residual_stream import check_layer, find_blocks
from tcr_jax.extract.shards import compute_contexts
from tcr_jax.extract.text import Document, read_documents
from tcr_jax.store import Description, Keep, Source, begin, finish, finished_shards, write_shard
from tcr_jax.store.records import record_size


class Progress(NamedTuple):
    """What a run is doing."""

    step: str  # in words
    documents: int  # read so far
    tokens: int  # that the model has seen in this run
    total: int  # that it will have seen at the end of this run; 0 where not known yet


def extract(
    config: ExtractConfig,
    directory: Path | str,
    *,
    process_index: int = 0,
    process_count: int = 1,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Description | None:
    """Writes the store of `config` into `directory`, or what is missing of it.

    Every process makes the same plan, and computes the shards whose number modulo `process_count` is its own, where
    they are not finished yet. The one that finds all of them finished completes the store; two may do so.

    Returns:
      The complete store's description, or None where shards of other processes are still missing.

    Raises:
      ExtractError: text, tokenizer, model or layer cannot be used.
      StoreError: the directory holds a store of another configuration or text, or the disk is full.
    """
    report(Progress("loading the tokenizer", 0, 0, 0))
    tokenizer = load_tokenizer(config.tokenizer or config.model, config.revision or None)
    prefix = _prefix(config, tokenizer)
    keep = Keep(max(config.skip_first, len(prefix)), config.outlier_norm)

    def counted(documents: Iterable[Document]) -> Iterator[Document]:
        for number, document in enumerate(documents, start=1):
            yield document
            report(Progress("reading text", number, 0, 0))

    plan = make_plan(
        counted(read_documents(config.text, config.text_field)),
        lambda text: tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"],
        context=config.context,
        prefix=prefix,
        shortest=keep.skip_first + 1,
        max_tokens=config.max_tokens or None,
    )
    report(Progress("loading the model", len(plan.names), 0, 0))
    dtype = fast_dtype(config.device) if config.dtype == "auto" else getattr(torch, config.dtype)
    model = load_model(config.model, dtype, revision=config.revision or None, device=config.device)
    _check_fit(config, plan, tokenizer, model)
    source = _source(config, model, plan, keep, prefix)
    shards = split_evenly(plan, max(1, int(config.shard_megabytes * 1e6) // record_size(source)))
    begin(directory, source, printable_pieces(tokenizer), len(shards), plan.names)

    todo = sorted(set(range(process_index, len(shards), process_count)) - finished_shards(directory))
    total = sum(len(chunk.token_t) for index in todo for context in shards[index] for chunk in context)
    seen = 0

    def saw(tokens: int) -> None:
        nonlocal seen
        seen += tokens
        report(Progress(f"layer {source.layer}", len(plan.names), seen, total))

    saw(0)
    for index in todo:
        contexts = compute_contexts(
            model, shards[index], source, keep, batch=config.batch, names=plan.names, report=saw
        )
        write_shard(directory, source, index, contexts)
    if finished_shards(directory) >= set(range(len(shards))):
        return finish(directory, source, len(shards))
    return None


def _prefix(config: ExtractConfig, tokenizer: PreTrainedTokenizerBase) -> Sequence[int]:
    if config.special_tokens == "none":
        return ()
    if tokenizer.bos_token_id is None:
        raise ExtractError(f"special_tokens=bos: the tokenizer of {config.model} has no such token; take none")
    return (tokenizer.bos_token_id,)


def _check_fit(
    config: ExtractConfig, plan: Plan, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> None:
    largest = max(int(chunk.token_t.max()) for context in plan.contexts for chunk in context)
    embeddings = cast(nn.Embedding, model.get_input_embeddings())
    if largest >= len(embeddings.weight):
        raise ExtractError(
            f"{tokenizer.name_or_path}: gives token {largest}, but the model knows {len(embeddings.weight)} tokens; "
            "name the tokenizer that belongs to the model"
        )
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if positions is not None and config.context > positions:
        raise ExtractError(f"context={config.context}: {config.model} knows {positions} positions; take fewer")


def _source(
    config: ExtractConfig, model: PreTrainedModel, plan: Plan, keep: Keep, prefix: Sequence[int]
) -> Source:
    layer, dtype = check_layer(model, config.layer), str(model.dtype).removeprefix("torch.")
    return Source(
        model=config.model,
        revision=exact_revision(model, config.model),
        layer=layer,
        hook=f"residual stream after block {layer} of {len(find_blocks(model))}, computed in {dtype}",
        width=model.config.get_text_config().hidden_size,
        context=config.context,
        dtype=config.store_dtype,
        special_tokens=f"token {prefix[0]} (bos) opens every chunk" if prefix else "none added",
        kept_policy=str(keep),
        text=f"{', '.join(config.text)}: {plan.tokens} tokens of {len(plan.names)} documents, digest {plan.digest}",
    )
