"""What comes back when concepts and edges are learned again, from another seed or from other documents.

    python -m experiments.stability --runs=DIR,DIR                        two trained runs: concepts and edges
    python -m experiments.stability --store=DIR --latents=64              certification across halves of the documents

The second finds concepts by ICA on each half apart, keeps those that come back when the half's documents are resampled,
fits delayed edges on each half, and looks on each half for the edges that the other chose.
"""

import itertools
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import launch
from tcr_jax.checkpoint import load_run
from tcr_jax.config import ConfigError
from tcr_jax.files import write_text
from tcr_jax.params import Dictionary
from tcr_jax.relations.tables import to_json
from tcr_jax.store import Store
from tcr_jax.store.split import Split
from tcr_jax.yardsticks.certification import Certificate, EdgeFit, certify, edge_fit
from tcr_jax.yardsticks.codes import CodeTable, code_table
from tcr_jax.yardsticks.concepts import ica_concepts, match_by_code, recurrence, resampled, sample_tokens
from tcr_jax.yardsticks.lexical import bigram
from tcr_jax.yardsticks.stability import stability

_RUNS = flags.DEFINE_list("runs", None, "directories of two runs to compare")
_STORE = flags.DEFINE_string("store", None, "activation store whose documents are halved")
_LATENTS = flags.DEFINE_integer("latents", 64, "concepts found on each half", 2)
_LAGS = flags.DEFINE_integer("lags", 3, "tokens back that edges reach", 1)
_TOKENS = flags.DEFINE_integer("concept_tokens", 100_000, "tokens of a half that its concepts are learned from", 1)
_BOOTSTRAPS = flags.DEFINE_integer(
    "bootstraps", 4, "times that a half's concepts are learned from resampled documents", 1
)
_STABLE = flags.DEFINE_float("stable", 0.9, "mean |correlation| over bootstraps from which a concept is kept")
_CHOOSE = flags.DEFINE_multi_float("choose", [5.0], "|t| over which an edge is chosen")
_CONFIRM = flags.DEFINE_multi_float("confirm", [2.0, 5.0], "|t| over which the other half certifies it, signs agreeing")
_EFFECT = flags.DEFINE_multi_float("effect", [0.02, 0.05, 0.1], "standardised effect over which an edge is chosen")
_SEED = flags.DEFINE_integer("seed", 0, "of ICA's starts and of the bootstraps", 0)
_OUT = flags.DEFINE_string("out", None, "JSON file of the figures")

HALVES: tuple[Split, Split] = ("train", "heldout")
"""The two halves are the two splits of a store of which half the documents are held out."""

SPLIT = 0.5


def say(name: str, **values: Any) -> None:
    print(f"{name:<28} " + "  ".join(f"{k} {v:.4g}" for k, v in values.items()), flush=True)


def concepts(x_nd: np.ndarray, document_n: np.ndarray, seed: int) -> tuple[Dictionary, np.ndarray]:
    """Those of one half, and how well each comes back over bootstraps of its documents."""
    rng, keys = np.random.default_rng(seed), jax.random.split(jax.random.key(seed), _BOOTSTRAPS.value + 1)
    reference = ica_concepts(x_nd, _LATENTS.value, keys[0])
    again = [ica_concepts(x_nd[resampled(document_n, rng)], _LATENTS.value, key) for key in keys[1:]]
    return reference, recurrence(reference, again, x_nd)


def certificates(first: EdgeFit, second: EdgeFit, matchings: Any, scores: Any, fit: str) -> list[dict[str, Any]]:
    """Each half's edges looked for in the other, at every threshold; means over the two directions."""
    rows = []
    for choose, confirm, effect in itertools.product(_CHOOSE.value, _CONFIRM.value, _EFFECT.value):
        both = [
            certify(a, b, matching, stable_k=score_k > _STABLE.value, choose=choose, confirm=confirm, effect=effect)
            for a, b, matching, score_k in zip((first, second), (second, first), matchings, scores, strict=True)
        ]
        mean = Certificate(*np.mean(both, axis=0))
        shares = {
            "replicated": mean.certified / max(mean.comparable, 1),
            "of_all_chosen": mean.certified / max(mean.chosen, 1),
        }
        row = {"fit": fit, "choose": choose, "confirm": confirm, "effect": effect, **mean._asdict(), **shares}
        say(fit, **{k: v for k, v in row.items() if k != "fit"})
        rows.append(row)
    return rows


def halves(directory: str) -> dict[str, Any]:
    """Concepts and edges of both halves, and what each certifies of the other."""
    store, started = Store.open(directory), time.monotonic()
    samples = [sample_tokens(store, half, SPLIT, _TOKENS.value) for half in HALVES]
    found = [concepts(*sample, seed=2 * _SEED.value + index) for index, sample in enumerate(samples)]
    shared_nd = np.concatenate([x_nd[:: max(1, 2 * len(x_nd) // 20_000)] for x_nd, _ in samples])
    dictionaries, scores = zip(*found, strict=True)
    matchings = [match_by_code(a, b, shared_nd) for a, b in (dictionaries, dictionaries[::-1])]
    similarity_k, stable_k = np.abs(matchings[0].similarity_k), scores[0] > _STABLE.value
    figures: dict[str, Any] = {
        "mean_correlation": float(similarity_k.mean()),
        "over_7": float((similarity_k > 0.7).mean()),
        "over_9": float((similarity_k > 0.9).mean()),
        "stable": float(stable_k.mean()),
        "stable_over_7": float((similarity_k[stable_k] > 0.7).mean()) if stable_k.any() else float("nan"),
    }
    say("concepts across halves", **figures, seconds=time.monotonic() - started)
    tables: list[CodeTable] = [
        code_table(dictionary, store, half, SPLIT) for dictionary, half in zip(dictionaries, HALVES, strict=True)
    ]
    rows = []
    for name, within in (("plain", None), ("within bigrams", bigram)):
        first, second = (edge_fit(table, _LAGS.value, within=within) for table in tables)
        rows += certificates(first, second, matchings, scores, name)
        nearest = [EdgeFit(fit.effect_lkk[:1], fit.t_lkk[:1]) for fit in (first, second)]
        rows += certificates(nearest[0], nearest[1], matchings, scores, f"{name}, lag 1 of them")
    return {**figures, "certificates": rows}


def main() -> None:
    runs, store = _RUNS.value or [], _STORE.value or ""
    if bool(runs) == bool(store) or len(runs) not in (0, 2):
        raise ConfigError("give either two runs, --runs=DIR,DIR, or a store, --store=DIR")
    if _OUT.value:
        Path(_OUT.value).parent.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any]
    if runs:
        first, second = (load_run(run) for run in runs)
        first.check_source(second.source, runs[1])
        figures = dict(stability(first.params, second.params))
        say("second run against first", **figures)
    else:
        figures = halves(store)
    if _OUT.value:
        write_text(Path(_OUT.value), to_json(figures))


if __name__ == "__main__":
    launch.run(main)
