"""Plants relations in real text of three domains, and measures how far they stand out of what is estimated.

    python -m experiments.planted --fillers=CORPUS --out=DIR [--tokens=150000] [--steps=300 | --runs=SAE]

CORPUS holds the directories legal, xml and email, as experiments.corpus makes it. Makes text, store, a model trained
jointly and a TopK sparse autoencoder of the same size, each where it is missing, and writes planted.json. With --runs,
dictionaries that are trained already take their place. Concepts are found and processes fitted on training documents;
see tcr_jax/yardsticks/planted.py for the score, and experiments/planted_text.py for the templates.
"""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import launch
from experiments.planted_text import TEMPLATES, Template, carriers, plant
from tcr_jax.checkpoint import load_run
from tcr_jax.closed_form import CodeMoments, collect_moments, fit_moments
from tcr_jax.closed_form.fit import present_order
from tcr_jax.dictionary import encode
from tcr_jax.extract.text import read_documents
from tcr_jax.files import write_text
from tcr_jax.params import Dictionary, Process
from tcr_jax.relations.tables import to_json
from tcr_jax.store import Store, ordered_batches
from tcr_jax.yardsticks.planted import (
    Found,
    delayed_coefficients,
    instantaneous_coefficients,
    label_concepts,
    recover,
)

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read on import: what it prints would be in the way of ours

_FILLERS = flags.DEFINE_string("fillers", None, "directory of the corpus that is planted in", required=True)
_OUT = flags.DEFINE_string("out", None, "directory of everything that is made", required=True)
_TOKENS = flags.DEFINE_integer("tokens", 150_000, "tokens of text", 10_000)
_STEPS = flags.DEFINE_integer("steps", 300, "training steps of each dictionary", 1)
_RUNS = flags.DEFINE_list("runs", [], "runs of the same model and layer whose dictionaries are taken; none is trained")
_LAGS = flags.DEFINE_integer("lags", 8, "tokens back that a delayed effect may reach", 1)
_PARENTS = flags.DEFINE_integer("parents", 32, "effects that a concept receives at most in the closed form", 1)
_SEED = flags.DEFINE_integer("seed", 0, "of the text and of the training")

HELDOUT = 0.1
NEGATIVES = 20_000
"""Tokens without a label that its AUROC is counted over."""


def main() -> None:
    out = Path(_OUT.value)
    store = out / "store"
    if not (out / "text").is_dir():
        _write_text(Path(_FILLERS.value), out / "text", _TOKENS.value, _SEED.value)
    texts = [f"--text={out / 'text' / domain}" for domain in _domains()]
    _run("extract", f"--out={store}", *texts, f"--max_tokens={2 * _TOKENS.value}")
    runs = {Path(run).name: Path(run) for run in _RUNS.value} or _trained(store, out)
    rows = _scores(Store.open(store), runs)
    write_text(out / "planted.json", to_json(rows))
    for row in rows:
        print("  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))


def _trained(store: Path, out: Path) -> dict[str, Path]:
    """Both dictionaries, trained on the planted text itself."""
    shared = (f"--store={store}", f"--heldout={HELDOUT}", f"--steps={_STEPS.value}", f"--seed={_SEED.value}")
    _run("train", *shared, f"--workdir={out / 'joint'}", f"--lags={_LAGS.value}")
    _run("train", *shared, f"--workdir={out / 'sae'}", "--mode=dictionary", "--innovation_weight=0")
    return {"joint": out / "joint", "sae": out / "sae"}


def _domains() -> list[str]:
    return list(dict.fromkeys(template.domain for template in TEMPLATES))


def _write_text(fillers: Path, out: Path, tokens: int, seed: int) -> None:
    """Planted documents, as many of each domain as make up its share of the tokens."""
    with launch.extra("extract"):
        from tcr_jax.extract.language_model import load_tokenizer
        from tcr_jax.extract.pieces import printable_pieces
    tokenizer = load_tokenizer("smollm2")
    pieces = printable_pieces(tokenizer)
    for domain in _domains():
        templates, left = [template for template in TEMPLATES if template.domain == domain], tokens // len(_domains())
        (out.with_suffix(".partial") / domain).mkdir(parents=True, exist_ok=True)
        for number, document in enumerate(read_documents([str(fillers / domain)])):
            if left <= 0:
                break
            ids = tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
            text = plant([pieces[token] for token in ids], templates, seed=f"{seed} {domain} {number}")
            write_text(out.with_suffix(".partial") / domain / f"{number}.txt", text)
            left -= len(ids)
    out.with_suffix(".partial").rename(out)


def _run(launcher: str, *flags: str) -> None:
    """Another launcher, which continues or does nothing where its work is done already."""
    print(f"\n$ python -m experiments.{launcher} {' '.join(flags)}", flush=True)
    if status := subprocess.run([sys.executable, "-m", f"experiments.{launcher}", *flags]).returncode:
        sys.exit(f"error: experiments.{launcher} ended with status {status}; the same command continues from there")


def _scores(store: Store, runs: dict[str, Path]) -> list[dict[str, float | int | str]]:
    """A row for every template and estimate: on each dictionary by regression and in closed form, and as trained."""
    label_nl = _labels(store)
    rows: list[dict[str, float | int | str]] = []
    for name, workdir in runs.items():
        run = load_run(workdir)
        run.check_source(store.description.source)
        batches = ordered_batches(store, split="train", heldout=HELDOUT, batch=32)
        moments = collect_moments(run.params.dictionary, batches, _LAGS.value)
        std_k = np.sqrt(np.maximum(np.diagonal(_covariance(moments)), 0))
        found = _concepts(store, run.params.dictionary, label_nl)
        sparse = fit_moments(moments, parents=_PARENTS.value, rank_k=present_order(moments))
        estimates = {f"{name} + regression": _regression(moments), f"{name} + closed form": sparse}
        trained_b_lkk, trained_m_kk = run.params.process.b_lkk, run.params.process.m_kk
        if trained_b_lkk is not None and len(trained_b_lkk) >= _LAGS.value and trained_m_kk is not None:
            estimates[name] = run.params.process
        for estimate, process in estimates.items():
            delayed = delayed_coefficients(process, std_k)
            instantaneous = instantaneous_coefficients(process, std_k)
            for number, template in enumerate(TEMPLATES):
                source, target = found[number]
                size_kk = delayed if template.gap else instantaneous
                recovery = recover(size_kk, source.concept, target.concept)
                labels = {"source_auroc": source.auroc, "target_auroc": target.auroc}
                rows.append({"estimate": estimate, **_described(template), **labels, **recovery._asdict()})
    return rows


def _described(template: Template) -> dict[str, str]:
    return {"domain": template.domain, "name": template.name, "kind": "delayed" if template.gap else "instantaneous"}


def _labels(store: Store) -> np.ndarray:
    """Whether each kept training token carries each label, source and target of every template in turn."""
    parts = []
    for batch in ordered_batches(store, split="train", heldout=HELDOUT, batch=32):
        for token_t, document_t in zip(batch.token_bt, batch.document_bt, strict=True):
            pieces = [store.pieces[token] for token in token_t]
            labels = [carriers(pieces, label) for t in TEMPLATES for label in (t.source, t.target)]
            parts.append(np.array(labels).T[document_t >= 0])
    return np.concatenate(parts)


def _concepts(store: Store, dictionary: Dictionary, label_nl: np.ndarray) -> list[tuple[Found, Found]]:
    """The concepts of both labels of every template, by their AUROC on training tokens."""
    batches = ordered_batches(store, split="train", heldout=HELDOUT, batch=32)
    parts = [np.asarray(encode(dictionary, jnp.asarray(batch.x_btd)))[batch.document_bt >= 0] for batch in batches]
    z_nk, found = np.concatenate(parts).astype(np.float16), []
    random = np.random.default_rng(0)
    for number in range(len(TEMPLATES)):
        pair: list[Found] = []
        for label_n in label_nl[:, 2 * number : 2 * number + 2].T:
            without = np.flatnonzero(~label_n)
            few = random.choice(without, min(NEGATIVES, len(without)), replace=False)
            rows = np.concatenate([np.flatnonzero(label_n), few])
            pair.append(label_concepts(z_nk[rows].astype(np.float32), label_n[rows], [f.concept for f in pair]))
        found.append((pair[0], pair[1]))
    return found


def _covariance(moments: CodeMoments) -> np.ndarray:
    mean_k = np.asarray(moments.sum_lk[0]) / moments.tokens
    return np.asarray(moments.cross_lkk[0]) / moments.tokens - np.outer(mean_k, mean_k)


def _regression(moments: CodeMoments, ridge: float = 1e-3) -> Process:
    """What is done without a model of relations: ridge of each concept on the past, and apart on the token's others."""
    covariance_kk = _covariance(moments)
    precision_kk = np.linalg.inv(covariance_kk + ridge * np.diag(np.maximum(np.diagonal(covariance_kk), 1e-9)))
    weight_kk = -precision_kk / np.diagonal(precision_kk)[:, None]
    np.fill_diagonal(weight_kk, 0)
    return fit_moments(moments, parents=None).replace(m_kk=jnp.asarray(weight_kk, jnp.float32))


if __name__ == "__main__":
    launch.run(main)
