"""The text that is shown: where concepts fire most strongly, and where edges act."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from tcr_jax import encode
from tcr_jax.checkpoint import Run
from tcr_jax.relations.contexts import Contexts, collect
from tcr_jax.relations.edges import Edge
from tcr_jax.relations.peaks import Peak, unlike
from tcr_jax.store import Store


def edge(kind: str, source: int, target: int, lag: int) -> Edge:
    return Edge(kind, source, target, lag, 1.0, 1.0, 0.1, 2.0, 50, True)


EDGES = [edge("delayed", 0, 1, 1), edge("delayed", 2, 3, 2), edge("instantaneous", 5, 6, 0), edge("self", 4, 4, 1)]


@pytest.fixture(scope="module")
def contexts(run: Run, store: Store) -> Contexts:
    return collect(run.params.dictionary, EDGES, store, range(len(store)), batch=7)


@pytest.fixture(scope="module")
def world(run: Run, store: Store) -> SimpleNamespace:
    """Activations, documents and tokens of the whole store, with dropped positions set to zero."""
    read = [store[record] for record in range(len(store))]
    kept_bt = np.stack([context.kept_t for context in read])
    z_btk = np.asarray(encode(run.params.dictionary, np.stack([context.activations_td for context in read])))
    return SimpleNamespace(
        z_btk=np.where(kept_bt[..., None], z_btk, 0),
        document_bt=np.stack([context.document_t for context in read]),
        token_bt=np.stack([context.token_t for context in read]),
    )


def test_the_strongest_firing_of_all_is_shown_first(contexts: Contexts, world: SimpleNamespace) -> None:
    """A concept's first snippet peaks where |z| is largest in the whole store, and holds the true activations."""
    assert sorted(contexts.concepts) == [0, 1, 2, 3, 4, 5, 6]
    for index, concept in contexts.concepts.items():
        first = concept.snippets[0]
        b, t = np.unravel_index(np.abs(world.z_btk[..., index]).argmax(), world.document_bt.shape)
        np.testing.assert_allclose(first.values[first.focus], world.z_btk[b, t, index], rtol=1e-5)
        start, stop = t - first.focus, t - first.focus + len(first.values)
        np.testing.assert_allclose(first.values, world.z_btk[b, start:stop, index], rtol=1e-5)
        assert first.tokens == tuple(world.token_bt[b, start:stop])
        assert set(world.document_bt[b, start:stop]) == {first.document}


def test_snippets_of_a_concept_differ(contexts: Contexts) -> None:
    """Eight contexts, each of another document while there are enough."""
    for concept in contexts.concepts.values():
        assert len(concept.snippets) == 8
        assert len({snippet.document for snippet in concept.snippets}) == 8


def test_examples_show_the_source_before_the_target(contexts: Contexts, world: SimpleNamespace) -> None:
    """In each example the target fires at the focus, and the source `lag` tokens earlier in the same document."""
    for relation, example in zip(EDGES, contexts.examples, strict=True):
        assert len(example.snippets) == 3
        for snippet in example.snippets:
            assert snippet.source == snippet.focus - relation.lag
            assert snippet.values[snippet.focus] != 0 and snippet.source_value != 0
        strongest = max(abs(snippet.source_value) for snippet in example.snippets)
        both_bt, source_bt = joint(relation, world)
        np.testing.assert_allclose(strongest, np.abs(source_bt[both_bt]).max(), rtol=1e-5)


def test_pair_share_counts_all_joint_firings(contexts: Contexts, world: SimpleNamespace) -> None:
    """The most frequent (source token, target token) among all joint firings of the store, and its share."""
    for relation, example in zip(EDGES, contexts.examples, strict=True):
        both_bt, _ = joint(relation, world)
        pairs = Counter((world.token_bt[b, t - relation.lag], world.token_bt[b, t]) for b, t in np.argwhere(both_bt))
        assert example.firings == pairs.total()
        assert pairs[example.pair] == max(pairs.values())
        assert example.pair_share == max(pairs.values()) / pairs.total()


def joint(relation: Edge, world: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Where an edge's concepts fire together, and the source's activation there."""
    source_bt, document_bt = np.zeros(world.document_bt.shape), np.full(world.document_bt.shape, -2)
    reach = world.document_bt.shape[1] - relation.lag
    source_bt[:, relation.lag :] = world.z_btk[:, :reach, relation.source]
    document_bt[:, relation.lag :] = world.document_bt[:, :reach]
    both_bt = (world.z_btk[..., relation.target] != 0) & (source_bt != 0) & (document_bt == world.document_bt)
    return both_bt, source_bt


def test_the_sign_of_a_concept_is_a_convention(run: Run, store: Store) -> None:
    """A concept negated in the model is turned back in the report: same names, same direction of its effects."""
    plain = run.params.dictionary.replace(activation="identity")
    negated = plain.replace(encoder_kd=plain.encoder_kd.at[0].multiply(-1.0))
    before, after = (collect(dictionary, EDGES[:1], store, range(len(store))) for dictionary in (plain, negated))
    assert before.concepts[0].sign == 1 and after.concepts[0].sign == -1
    assert before.concepts[0].top_tokens == after.concepts[0].top_tokens
    assert before.sign(EDGES[0]) == -after.sign(EDGES[0])


def test_peaks_of_the_same_text_are_shown_once() -> None:
    """Among peaks, repeated text goes; another document is preferred to a stronger peak; the order stays."""
    peaks = [Peak(0, 9, 0, True, (1, 2)), Peak(1, 9, 1, True, (1, 2)), Peak(2, 9, 0, True, (3, 2))]
    peaks += [Peak(3, 9, 2, True, (4, 2)), Peak(4, 9, 3, True, (5, 2))]
    assert [peak.record for peak in unlike(peaks, 3)] == [0, 3, 4]
    assert [peak.record for peak in unlike(peaks, 9)] == [0, 2, 3, 4]


def test_no_edges_need_no_text(run: Run, store: Store) -> None:
    """Without edges nothing is read."""
    assert collect(run.params.dictionary, [], store, range(len(store))) == Contexts({}, [])
