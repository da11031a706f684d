"""The plan: every context of the store to be, known before the model runs, and the same in every process."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from tcr_jax.extract.chunks import Chunk, cut
from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.packing import Packed, pack
from tcr_jax.extract.text import Document


class Plan(NamedTuple):
    """What goes where."""

    contexts: list[Packed]
    names: list[str]  # of the documents, by id
    tokens: int  # that the model will run over
    digest: str  # of all tokens and their documents: two plans with the same digest are the same


def make_plan(
    documents: Iterable[Document],
    tokenize: Callable[[str], Sequence[int]],
    *,
    context: int,
    prefix: Sequence[int] = (),
    shortest: int = 1,
    max_tokens: int | None = None,
) -> Plan:
    """Tokenises, cuts and packs. Document ids count from 0 in order of appearance.

    Args:
      documents: read only as far as needed.
      tokenize: text -> token ids, without special tokens.
      context: positions of a context, and the most tokens of a chunk.
      prefix: special tokens that open every chunk.
      shortest: chunks of fewer tokens are left out.
      max_tokens: stop before the chunk that would pass this many tokens.

    Raises:
      ExtractError: the text does not even fill one context.
    """
    names: list[str] = []
    tokens, digest = 0, hashlib.sha256()

    def chunks() -> Iterator[Chunk]:
        nonlocal tokens
        for number, document in enumerate(documents):
            names.append(document.name)
            for chunk in cut(number, tokenize(document.text), context, prefix=prefix, shortest=shortest):
                if max_tokens is not None and tokens + len(chunk.token_t) > max_tokens:
                    return
                tokens += len(chunk.token_t)
                digest.update(f"{number} {len(chunk.token_t)} ".encode() + chunk.token_t.astype("<i4").tobytes())
                yield chunk

    contexts = list(pack(chunks(), context))
    if tokens < context:
        raise ExtractError(
            f"the text has {tokens} tokens, fewer than one context of {context}; give more text, a shorter context or "
            f"a higher limit on tokens"
        )
    return Plan(contexts, names, tokens, digest.hexdigest()[:16])


def split_evenly(plan: Plan, largest: int) -> list[list[Packed]]:
    """The contexts of every shard: as few shards as hold at most `largest` contexts each, equal to within one."""
    total = len(plan.contexts)
    shards = -(-total // largest)
    bounds = [total * index // shards for index in range(shards + 1)]
    return [plan.contexts[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]
