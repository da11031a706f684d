"""Plants relations in real text of three domains, and measures how far they stand out of what is estimated.

    python -m experiments.planted --fillers=CORPUS --out=DIR [--tokens=150000] [--steps=200 | --runs=SAE] [--seed=0]

CORPUS holds the directories legal, xml and email, as experiments.corpus makes it. Makes text, store and a TopK sparse
autoencoder, each where it is missing, and writes planted.json. With --runs, dictionaries that are trained already take
its place. Text that is there must be of the same --seed, --tokens and --fillers. Half of the documents train the
dictionary and find the concepts; the process is fitted on the other half, whose documents nothing else saw. See
tcr_jax/yardsticks/planted.py for the score, experiments/planted_text.py for the templates, and
experiments/planted_scores.py for the estimates.
"""

import json
import os
import shutil
import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
from absl import flags

from experiments import launch
from experiments.planted_scores import (
    covariance,
    estimates,
    fold_moments,
    labels,
    likeness,
    recovered,
    with_labels,
)
from experiments.planted_text import TEMPLATES, plant
from tcr_jax.checkpoint import load_run
from tcr_jax.closed_form import merge
from tcr_jax.closed_form.moments import active_latents
from tcr_jax.config import ConfigError
from tcr_jax.extract.text import read_documents
from tcr_jax.files import PARTIAL, read_json, write_text
from tcr_jax.relations.tables import to_json
from tcr_jax.store import Store
from tcr_jax.yardsticks.codes import code_table
from tcr_jax.yardsticks.planted import Pair, label_concepts

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read on import: what it prints would be in the way of ours

_FILLERS = flags.DEFINE_string("fillers", None, "directory of the corpus that is planted in", required=True)
_OUT = flags.DEFINE_string("out", None, "directory of everything that is made", required=True)
_TOKENS = flags.DEFINE_integer("tokens", 150_000, "tokens of real text that is planted in", 10_000)
_STEPS = flags.DEFINE_integer("steps", 200, "training steps of the dictionary", 1)
_TOPK = flags.DEFINE_integer("topk", 12, "concepts active a token in the dictionary", 1)
_RUNS = flags.DEFINE_list("runs", [], "runs of the same model and layer whose dictionaries are taken; none is trained")
_LAGS = flags.DEFINE_integer("lags", 12, "tokens back that a delayed effect may reach", 1)
_PARENTS = flags.DEFINE_integer("parents", 8, "delayed effects that a concept receives at most in the closed form", 1)
_WITHIN = flags.DEFINE_integer("within", 4, "effects within the token that it receives at most in the closed form", 1)
_SEED = flags.DEFINE_integer("seed", 0, "of the text and of the training; even and odd ones share no document", 0)

HELDOUT = 0.5
MADE_OF = "made_of.json"
"""Beside the text: the flags that it was made with."""


def main() -> None:
    out = Path(_OUT.value)
    store = out / "store"
    if (out / "text").is_dir():
        _check_text(out / "text")
    else:
        _write_text(Path(_FILLERS.value), out / "text", _TOKENS.value, _SEED.value)
    texts = [f"--text={out / 'text' / domain}" for domain in _domains()]
    _run("extract", f"--out={store}", *texts, f"--max_tokens={2 * _TOKENS.value}")
    runs = {run: Path(run) for run in _RUNS.value} or _trained(store, out)
    rows = [row for name, workdir in runs.items() for row in _scores(Store.open(store), workdir, name)]
    write_text(out / "planted.json", to_json(rows))
    for row in rows:
        print("  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))


def _trained(store: Path, out: Path) -> dict[str, Path]:
    """A dictionary trained on half of the planted text."""
    shared = (f"--store={store}", f"--heldout={HELDOUT}", f"--steps={_STEPS.value}", f"--seed={_SEED.value}")
    _run("train", *shared, f"--workdir={out / 'sae'}", "--preset=sae_topk", f"--topk={_TOPK.value}")
    return {"sae": out / "sae"}


def _domains() -> list[str]:
    return list(dict.fromkeys(template.domain for template in TEMPLATES))


def _made_of() -> dict[str, int | str]:
    return {"seed": _SEED.value, "tokens": _TOKENS.value, "fillers": str(Path(_FILLERS.value).absolute())}


def _check_text(text: Path) -> None:
    """Raises `ConfigError` where the text that is there was made with other flags; one that does not say is taken."""
    made = read_json(text / MADE_OF) if (text / MADE_OF).exists() else {}
    wrong = [f"{name}: {made[name]} -> {now}" for name, now in _made_of().items() if made.get(name, now) != now]
    if wrong:
        raise ConfigError(f"{text} was made with other flags (then -> now): {'; '.join(wrong)}; give another --out")


def _write_text(fillers: Path, out: Path, tokens: int, seed: int) -> None:
    """Planted documents, as many of each domain as make up its share of the tokens."""
    partial = out.with_suffix(PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was stopped
    with launch.extra("extract"):
        from tcr_jax.extract.language_model import load_tokenizer
        from tcr_jax.extract.pieces import printable_pieces
    tokenizer = load_tokenizer("smollm2")
    pieces = printable_pieces(tokenizer)
    for domain in _domains():
        templates, left = [template for template in TEMPLATES if template.domain == domain], tokens // len(_domains())
        (partial / domain).mkdir(parents=True)
        for number, document in enumerate(read_documents([str(fillers / domain)])):
            if left <= 0:
                break
            if number % 2 != seed % 2:
                continue
            ids = tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
            text = plant([pieces[token] for token in ids], templates, seed=f"{seed} {domain} {number}")
            write_text(partial / domain / f"{number}.txt", text)
            left -= len(ids)
    write_text(partial / MADE_OF, json.dumps(_made_of(), indent=1) + "\n")
    partial.rename(out)


def _run(launcher: str, *flags: str) -> None:
    """Another launcher, which continues or does nothing where its work is done already."""
    print(f"\n$ python -m experiments.{launcher} {' '.join(flags)}", flush=True)
    if status := subprocess.run([sys.executable, "-m", f"experiments.{launcher}", *flags]).returncode:
        sys.exit(f"error: experiments.{launcher} ended with status {status}; the same command continues from there")


Row = dict[str, float | int | str]


def _scores(store: Store, workdir: Path, name: str) -> list[Row]:
    """A row for every template, estimate and kind of concepts: the dictionary's own, or labels in their place."""
    run = load_run(workdir)
    run.check_source(store.description.source)
    dictionary = run.params.dictionary
    known = code_table(dictionary, store, "train", HELDOUT)
    concept_l = label_concepts(likeness(known, labels(known, store.pieces)))
    pairs = [Pair(int(source), int(target)) for source, target in concept_l.reshape(-1, 2)]
    codes = code_table(dictionary, store, "heldout", HELDOUT)
    label_btl = labels(codes, store.pieces)
    alike_l = likeness(codes, label_btl)[concept_l, np.arange(len(concept_l))]
    share_l = label_btl.sum(axis=(0, 1)) / (codes.document_bt >= 0).sum()
    active = min(active_latents(dictionary) + len(concept_l), len(dictionary.encoder_kd))
    rows: list[Row] = []
    for concepts, table in ((name, codes), (f"{name}, labels given", with_labels(codes, label_btl, concept_l))):
        folds = fold_moments(table, _LAGS.value, active)
        std_k = np.sqrt(np.maximum(np.diagonal(covariance(reduce(merge, folds))), 0))
        for estimate, process in estimates(folds, _PARENTS.value, _WITHIN.value).items():
            for number, recovery in enumerate(recovered(process, std_k, pairs)):
                template = TEMPLATES[number]
                rows.append(
                    {
                        "concepts": concepts,
                        "seed": _SEED.value,
                        "estimate": estimate,
                        "domain": template.domain,
                        "name": template.name,
                        "kind": "delayed" if template.gap else "instantaneous",
                        "source_share": float(share_l[2 * number]),
                        "target_share": float(share_l[2 * number + 1]),
                        "source_correlation": float(alike_l[2 * number]),
                        "target_correlation": float(alike_l[2 * number + 1]),
                        **recovery._asdict(),
                    }
                )
    return rows


if __name__ == "__main__":
    launch.run(main)
