"""The strongest certified relations of a trained run, with their contexts and what interventions said, on one page.

    python -m experiments.certify --workdir=RUN --out=delayed.csv
    python -m experiments.certify --workdir=RUN --out=beyond.csv --within=bigram
    python -m experiments.certify --workdir=RUN --out=present.csv --instantaneous
    python -m experiments.certify --workdir=RUN --out=present_beyond.csv --instantaneous --within=bigram
    python -m experiments.intervene --workdir=RUN --edges=delayed.csv --out=tested
    python -m experiments.findings --workdir=RUN --delayed=delayed.csv --instantaneous=present.csv
        --beyond=beyond.csv --beyond=present_beyond.csv --interventions=tested/interventions.csv --page=findings.md

Writes into the page between two lines that it knows again: what is written by hand around them stays. Pictures go to a
folder of the page's name. Contexts are of held-out documents alone.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from experiments import launch
from tcr_jax.checkpoint import load_run
from tcr_jax.config import ConfigError
from tcr_jax.files import read_json, write_bytes, write_text
from tcr_jax.intervene.edges import Intervention
from tcr_jax.intervene.table import Found, from_csv
from tcr_jax.params import Dictionary
from tcr_jax.store import Store
from tcr_jax.yardsticks import edge_table, folders
from tcr_jax.yardsticks.edge_table import CertifiedEdge

with launch.extra("report"):
    from matplotlib.figure import Figure

    from tcr_jax.relations import comparisons, markdown, pictures
    from tcr_jax.relations.contexts import Contexts, collect
    from tcr_jax.relations.markdown import Relation
    from tcr_jax.relations.page import Writer

RUNGS = ("VAR", "past, for x", "previous token", "token", "random basis")

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run whose concepts they are", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_DELAYED = flags.DEFINE_string("delayed", None, "delayed edges, as experiments.certify writes them", required=True)
_PRESENT = flags.DEFINE_string("instantaneous", None, "edges within the token, likewise", required=True)
_BEYOND = flags.DEFINE_multi_string("beyond", [], "edges certified within pairs of tokens, of both kinds")
_INTERVENTIONS = flags.DEFINE_string("interventions", None, "CSV of experiments.intervene", required=True)
_PREDICTION = flags.DEFINE_string("prediction", None, "prediction.json of experiments.process_fit --ladder")
_PAGE = flags.DEFINE_string("page", None, "Markdown file written, or written into", required=True)
_COUNT = flags.DEFINE_integer("count", 30, "relations shown of each kind", 1)
_LIMIT = flags.DEFINE_integer("limit", None, "held-out contexts read at most (default: all)", 1)


def main() -> None:
    page = Path(_PAGE.value)
    if not page.suffix:
        raise ConfigError(f"page={page} has no ending, and pictures go to a folder of that name: give {page}.md")
    run = load_run(_WORKDIR.value)
    dictionary = run.params.dictionary
    store = Store.open(_STORE.value or run.config.store)
    run.check_source(store.description.source)
    found = from_csv(Path(_INTERVENTIONS.value).read_text(encoding="utf-8"), _INTERVENTIONS.value)
    beyond = {edge[:3]: edge for path in _BEYOND.value for edge in _edges(path, dictionary)}
    all_delayed, all_present = (_edges(path, dictionary) for path in (_DELAYED.value, _PRESENT.value))
    if any(edge.lag == 0 for edge in all_delayed):
        raise ConfigError(f"{_DELAYED.value}: has edges within the token (lag 0): give it as --instantaneous")
    if any(edge.lag > 0 for edge in all_present):
        raise ConfigError(f"{_PRESENT.value}: has edges of earlier tokens (lag 1 or more): give it as --delayed")
    delayed, present = (
        [_relation(edge, beyond, found, dictionary) for edge in _between(edges)[: _COUNT.value]]
        for edges in (all_delayed, all_present)
    )
    records = store.contexts("heldout", run.config.heldout)
    if _LIMIT.value is not None and len(records) > _LIMIT.value:
        records = records[np.linspace(0, len(records), _LIMIT.value, endpoint=False).astype(int)]
    shown = [relation.edge for relation in delayed + present]
    contexts = collect(dictionary, shown, store, records, shown=2, examples=1)
    domains = folders.domains(store.documents)
    counts = [_counts(edges, beyond) for edges in (all_delayed, all_present)]
    text = _text(delayed, present, contexts, Writer(store.pieces, run.config.heldout), domains, counts)
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _pictures(found)
    for name, figure in drawn.items():
        write_bytes(folder / f"{name}.png", pictures.png(figure))
    text += "\n" + "\n\n".join(f"![{name.replace('_', ' ')}]({folder.name}/{name}.png)" for name in drawn) + "\n"
    write_text(page, markdown.inserted(page.read_text(encoding="utf-8") if page.exists() else "", text))
    print(page)


def _edges(path: str, dictionary: Dictionary) -> list[CertifiedEdge]:
    return edge_table.from_csv(Path(path).read_text(encoding="utf-8"), path, dictionary.decoder_kd)


def _between(edges: Iterable[CertifiedEdge]) -> list[CertifiedEdge]:
    return [edge for edge in edges if edge.source != edge.target]


def _relation(
    edge: CertifiedEdge, beyond: dict[tuple, CertifiedEdge], found: Found, dictionary: Dictionary
) -> Relation:
    """An edge is as strong beyond pairs of tokens only with its sign."""
    same = beyond.get(edge[:3])
    tested: dict[str, Intervention | None] = {
        edit: next((one for one in found.get((edit, "edges"), ()) if one[:3] == edge[:3]), None)
        for edit in ("removal", "addition")
    }
    source_d, target_d = (np.asarray(dictionary.decoder_kd[index]) for index in (edge.source, edge.target))
    cosine = float(source_d @ target_d / (np.linalg.norm(source_d) * np.linalg.norm(target_d)))
    kept = same if same is not None and same.weight * edge.weight > 0 else None
    return Relation(edge, kept, tested["removal"], tested["addition"], cosine)


def _counts(edges: Sequence[CertifiedEdge], beyond: dict[tuple, CertifiedEdge]) -> tuple[int, int]:
    """Edges between two concepts, and how many of them stay, with their sign, within pairs of tokens."""
    between = _between(edges)
    stay = sum(edge[:3] in beyond and beyond[edge[:3]].weight * edge.weight > 0 for edge in between)
    return len(between), stay


def _text(
    delayed: list[Relation],
    present: list[Relation],
    contexts: Contexts,
    writer: Writer,
    domains: dict[int, str],
    counts: list[tuple[int, int]],
) -> str:
    """Both tables, the text in which each relation acts, and every concept."""
    labels = {index: writer.label(concept) for index, concept in contexts.concepts.items()}
    tested = [relation.removal for relation in delayed if relation.removal is not None]
    right = sum(one.direct * one.measured > 0 for one in tested)
    (all_delayed, stay_delayed), (all_present, stay_present) = counts
    parts = [
        f"### The {len(delayed)} strongest delayed relations",
        f"Of {all_delayed:,} certified between two concepts; {stay_delayed:,} of these stay beyond the bigram. Of the "
        f"{len(delayed)} shown, {sum(relation.beyond is not None for relation in delayed)} stay, "
        f"{len(tested)} were tested, and in {right} the removal changed the target in the direction predicted "
        "(bold: by more than 3 standard errors).",
        markdown.delayed(delayed, contexts, labels),
        f"### The {len(present)} strongest instantaneous relations",
        f"Of {all_present:,} certified within the token; {stay_present:,} of these stay beyond the bigram, and "
        f"{sum(relation.beyond is not None for relation in present)} of those shown. **No intervention tests them.**",
        markdown.instantaneous(present, contexts, labels),
        "### Where they act",
        "<details><summary>Held-out text, the source underlined, the target bold</summary>\n\nDelayed:",
        markdown.examples(delayed, contexts.examples[: len(delayed)], labels, writer),
        "Instantaneous:",
        markdown.examples(present, contexts.examples[len(delayed) :], labels, writer),
        "</details>\n\n### Their concepts",
        "<details><summary>Tokens and held-out text at which each fires most strongly</summary>\n",
        markdown.concepts(contexts, labels, writer, domains),
        "</details>\n\n### Pictures",
    ]
    return "\n\n".join(parts) + "\n"


def _pictures(found: Found) -> dict[str, Figure]:
    drawn = {"effects": comparisons.effects(found), "signs_by_rank": comparisons.signs_by_rank(found)}
    if _PREDICTION.value:
        figures = read_json(Path(_PREDICTION.value))
        drawn["prediction_by_domain"] = comparisons.ladder(figures, RUNGS)
    return drawn


if __name__ == "__main__":
    launch.run(main)
