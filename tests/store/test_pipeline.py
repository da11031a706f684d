"""The order is shuffled, complete, resumable anywhere on any number of processes, and never mixes the splits."""

import json

import numpy as np
import pytest

from tcr_jax import store
from tests.store.conftest import POSITIONS

HELDOUT, SHARDS = 0.3, 8


@pytest.fixture
def reader(write_store):
    return store.Store.open(write_store(SHARDS))


def take(batches, count):
    return [next(batches) for _ in range(count)]


def numbers(batch: store.Batch) -> list[int]:
    """Contexts of a batch, in its order."""
    return (batch.token_bt[:, 0] // POSITIONS).tolist()


def usable_tokens(batch: store.Batch) -> set[int]:
    return set(batch.token_bt[batch.document_bt >= 0].tolist())


def test_no_token_is_in_both_splits_and_none_is_lost(reader):
    """Enumerated, train and held-out tokens are disjoint, together all that were kept, and split by document."""
    tokens = {}
    for split in ("train", "heldout", "all"):
        batches = list(store.ordered_batches(reader, split=split, heldout=HELDOUT, batch=3))
        tokens[split] = set.union(*map(usable_tokens, batches))
        assert len(tokens[split]) == reader.tokens(split, HELDOUT)
        documents = np.unique(np.concatenate([batch.document_bt.ravel() for batch in batches]))
        if split != "all":
            assert (store.is_heldout(documents[documents >= 0], HELDOUT) == (split == "heldout")).all()
    assert not tokens["train"] & tokens["heldout"]
    assert tokens["train"] | tokens["heldout"] == tokens["all"]
    assert tokens["all"] == {token for context in reader for token in context.token_t[context.kept_t].tolist()}
    training = store.training_batches(reader, heldout=HELDOUT, batch=4, seed=0)
    assert set.union(*map(usable_tokens, take(training, 30))) == tokens["train"]
    training.close()


def test_a_context_of_both_splits_shows_each_only_its_own_document(reader):
    """Where a held-out document follows one of training in a context, each split sees the other's positions dropped."""
    mixed = np.intersect1d(reader.contexts("train", HELDOUT), reader.contexts("heldout", HELDOUT))
    assert len(mixed)
    for split in ("train", "heldout"):
        seen = {}
        for batch in store.ordered_batches(reader, split=split, heldout=HELDOUT, batch=1):
            seen[numbers(batch)[0]] = batch.document_bt[0]
        for number in mixed:
            context = reader[number]
            mine_t = context.kept_t & (store.is_heldout(context.document_t, HELDOUT) == (split == "heldout"))
            assert 0 < mine_t.sum() < context.kept_t.sum()
            assert seen[number].tolist() == np.where(mine_t, context.document_t, -1).tolist()


def test_an_epoch_visits_every_context_once_and_the_next_in_another_order(reader):
    """Each epoch is a permutation of the training contexts; epochs and seeds differ, the same seed repeats."""
    contexts = reader.contexts("train", HELDOUT).tolist()

    def epochs(seed):
        batches = store.training_batches(reader, heldout=HELDOUT, batch=1, seed=seed)
        order = [numbers(batch)[0] for batch in take(batches, 3 * len(contexts))]
        batches.close()
        return [order[start : start + len(contexts)] for start in range(0, len(order), len(contexts))]

    first = epochs(seed=0)
    assert all(sorted(epoch) == contexts for epoch in first)
    assert contexts not in first and len({tuple(epoch) for epoch in first}) == 3
    assert epochs(seed=0) == first
    assert epochs(seed=1) != first


def test_a_step_has_the_same_contexts_on_any_number_of_processes(reader):
    """1, 2 or 4 processes share the contexts of each step, and a state of one resumes all, in mid-epoch."""

    def steps(processes, count, state=None):
        """Contexts of each step, sorted, and the state of every process after them."""
        options = {"heldout": HELDOUT, "batch": 8, "seed": 5, "shard_count": processes}
        parts = [store.training_batches(reader, shard_index=index, **options) for index in range(processes)]
        for part in parts if state else []:
            part.set_state(state)
        batches = [take(part, count) for part in parts]
        states = [part.get_state() for part in parts]
        for part in parts:
            part.close()
        return [sorted(sum(map(numbers, step), [])) for step in zip(*batches, strict=True)], states

    whole, _ = steps(1, 12)
    assert len(reader.contexts("train", HELDOUT)) % 8  # so that epochs end in the middle of a batch
    for before, after in [(1, 1), (1, 4), (2, 4), (4, 1), (4, 2)]:
        first, states = steps(before, 7)
        assert all(state == states[0] for state in states)
        rest, _ = steps(after, 5, state=json.loads(json.dumps(states[0])))
        assert first + rest == whole


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_resumed_order_is_bit_identical(reader, prefetch):
    """From every step of two epochs, a new iterator that is given the state goes on with the very same arrays."""
    options = {"heldout": HELDOUT, "batch": 6, "seed": 1, "prefetch": prefetch}
    batches = store.training_batches(reader, **options)
    states, expected = [], []
    for _ in range(15):
        states.append(batches.get_state())
        expected.append(next(batches))
    batches.close()
    resumed = store.training_batches(reader, **options)
    for step in (0, 14, 3, 8):
        resumed.set_state(states[step])
        for array, wanted in zip(next(resumed), expected[step], strict=True):
            assert array.tobytes() == wanted.tobytes() and array.dtype == wanted.dtype
    resumed.close()


def test_one_pass_is_in_order_and_keeps_its_shape(reader, make_context):
    """ordered_batches() gives each context once, in order, untouched; the last batch is filled with dropped ones."""
    batches = list(store.ordered_batches(reader, split="all", heldout=HELDOUT, batch=16))
    assert [batch.x_btd.shape for batch in batches] == [(16, 8, 6)] * 3
    assert all(batch.x_btd.dtype.name == "bfloat16" for batch in batches)
    assert [number for batch in batches for number in numbers(batch)][:40] == list(range(40))
    filler = store.Batch(*(array[8:] for array in batches[-1]))
    assert (filler.document_bt == -1).all() and not filler.x_btd.any() and not filler.token_bt.any()
    for number, x_td in enumerate(np.concatenate([batch.x_btd for batch in batches])[:40]):
        assert x_td.tobytes() == make_context(number).activations_td.tobytes()


def test_a_limited_pass_samples_the_whole_split(reader):
    """A limit gives that many full batches, spread from the first context to the last; a high one changes nothing."""

    def order(limit):
        batches = store.ordered_batches(reader, split="all", heldout=HELDOUT, batch=4, limit=limit)
        return [number for batch in batches for number in numbers(batch)]

    assert order(2) == [0, 5, 10, 15, 20, 25, 30, 35]
    assert order(10) == order(11) == order(None) == list(range(40))


def test_processes_share_one_pass(reader):
    """Over 2 processes the parts of each batch make up the batch of one process, and both see as many batches."""
    options = {"split": "heldout", "heldout": HELDOUT, "batch": 6}
    whole = [numbers(batch) for batch in store.ordered_batches(reader, **options)]
    parts = [
        [numbers(batch) for batch in store.ordered_batches(reader, shard_index=index, shard_count=2, **options)]
        for index in range(2)
    ]
    assert [sorted(one + other) for one, other in zip(*parts, strict=True)] == list(map(sorted, whole))


def test_an_empty_split_or_an_uneven_batch_is_named(reader):
    """A split without documents, or a batch that does not divide over processes, says so with its numbers."""
    with pytest.raises(store.StoreError, match="41 documents is in the split 'heldout' with heldout=0.0"):
        next(store.ordered_batches(reader, split="heldout", heldout=0.0, batch=2))
    with pytest.raises(store.StoreError, match="41 documents is in the split 'train' with heldout=1.0"):
        store.training_batches(reader, heldout=1.0, batch=2, seed=0)
    with pytest.raises(store.StoreError, match="batch=6 does not divide evenly over 4 processes"):
        store.training_batches(reader, heldout=HELDOUT, batch=6, seed=0, shard_count=4)
