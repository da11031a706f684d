"""Delayed edges between the concepts of a trained run that two halves of its training documents find alike.

    python -m experiments.certify --workdir=RUN --out=FILE.csv [--lags=3] [--within=current] [--t=5] [--first_t=10]

Writes one row an edge: those that pass `first_t` first, and of them the largest predicted effect, which is what taking
the source away would change of the target, in the target's standard deviations. Made for
`experiments.intervene --edges=FILE.csv`. See tcr_jax/yardsticks/slopes.py.
"""

import csv
import io
from pathlib import Path

import numpy as np
from absl import flags

from experiments import launch
from tcr_jax.checkpoint import load_run
from tcr_jax.files import write_text
from tcr_jax.store import Store
from tcr_jax.store.split import is_heldout
from tcr_jax.typing import DROPPED
from tcr_jax.yardsticks.codes import CodeTable, code_table
from tcr_jax.yardsticks.lexical import bigram, current, previous
from tcr_jax.yardsticks.slopes import Slopes, confirmed, slopes

GROUPS = {"current": current, "previous": previous, "bigram": bigram, "all": None}

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run whose dictionary is taken", required=True)
_OUT = flags.DEFINE_string("out", None, "CSV written", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_LAGS = flags.DEFINE_integer("lags", 3, "tokens back that edges reach", 1)
_WITHIN = flags.DEFINE_enum("within", "current", list(GROUPS), "tokens compared: those of one id, of one pair, or all")
_FOLDS = flags.DEFINE_integer("folds", 8, "groups of documents that standard errors leave out in turn", 2)
_T = flags.DEFINE_float("t", 5, "|t| that an edge passes in each half", 0)
_FIRST = flags.DEFINE_float("first_t", 10, "|t| in each half of the edges that come first", 0)
_EFFECT = flags.DEFINE_float("effect", 0.02, "standardised effect that an edge passes in each half", 0)


def main() -> None:
    run = load_run(_WORKDIR.value)
    store = Store.open(_STORE.value or run.config.store)
    run.check_source(store.description.source)
    codes = code_table(run.params.dictionary, store, "train", run.config.heldout)
    std_k, strength_k = _sizes(codes)
    first, second = (
        slopes(half, _LAGS.value, folds=_FOLDS.value, within=GROUPS[_WITHIN.value])
        for half in _halves(codes, run.config.heldout)
    )
    kept_lkk = confirmed(first, second, std_k, t=_T.value, effect=_EFFECT.value)
    write_text(Path(_OUT.value), _table(kept_lkk, first, second, std_k, strength_k))
    _report(kept_lkk, first, second, std_k)


def _halves(codes: CodeTable, heldout: float) -> tuple[CodeTable, CodeTable]:
    """The training documents that a larger held-out share would hold out as well, and the rest."""
    second_bt = is_heldout(np.maximum(codes.document_bt, 0), (1 + heldout) / 2)
    parts = (np.where(chosen_bt, codes.document_bt, DROPPED) for chosen_bt in (~second_bt, second_bt))
    first, second = (codes._replace(document_bt=document_bt) for document_bt in parts)
    return first, second


def _sizes(codes: CodeTable, rows: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Each concept's standard deviation, and its mean |z| where it fires."""
    tokens, sums_4k = 0, np.zeros((4, codes.z_btk.shape[-1]))
    for first in range(0, len(codes.z_btk), rows):
        kept_bt = codes.document_bt[first : first + rows] >= 0
        z_nk = codes.z_btk[first : first + rows][kept_bt].astype(np.float32)
        tokens += len(z_nk)
        sums_4k += np.stack([z_nk.sum(0), (z_nk**2).sum(0), np.abs(z_nk).sum(0), (z_nk != 0).sum(0)])
    sum_k, square_k, size_k, fires_k = sums_4k
    return np.sqrt(np.maximum(square_k / tokens - (sum_k / tokens) ** 2, 0)), size_k / np.maximum(fires_k, 1)


def _table(kept_lkk: np.ndarray, first: Slopes, second: Slopes, std_k: np.ndarray, strength_k: np.ndarray) -> str:
    """Edges by whether they pass `first_t`, then by |slope| * mean |z_source| where it fires / std(z_target)."""
    at = np.nonzero(kept_lkk)
    lag_n, target_n, source_n = at
    predicted_n = np.abs(kept_lkk[at]) * strength_k[source_n] / std_k[target_n]
    columns = (source_n, target_n, lag_n + 1, kept_lkk[at], predicted_n, first.t_lkk[at], second.t_lkk[at])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("source", "target", "lag", "weight", "predicted", "t_first", "t_second"))
    clear_n = np.minimum(np.abs(first.t_lkk[at]), np.abs(second.t_lkk[at])) > _FIRST.value
    for n in np.lexsort((-predicted_n, ~clear_n)):
        source, target, lag, *numbers = (column[n] for column in columns)
        writer.writerow((source, target, lag, *(f"{number:.6g}" for number in numbers)))
    return text.getvalue()


def _report(kept_lkk: np.ndarray, first: Slopes, second: Slopes, std_k: np.ndarray) -> None:
    """How many edges the first half selects, and how many of them the second one finds too."""
    unlimited = Slopes(first.effect_lkk, np.full_like(first.t_lkk, np.inf))
    selected_lkk = confirmed(first, first, std_k, t=_T.value, effect=_EFFECT.value) != 0
    same_lkk = confirmed(unlimited, second, std_k, t=3, effect=0) != 0
    apart_lkk = np.broadcast_to(~np.eye(len(std_k), dtype=bool), kept_lkk.shape)
    for name, part_lkk in (("between concepts", apart_lkk), ("own past", ~apart_lkk)):
        selected = selected_lkk & part_lkk
        again = (selected & same_lkk).sum() / max(selected.sum(), 1)
        print(f"{name:18} selected on one half {selected.sum():7,}  same sign and |t| > 3 on the other {again:6.1%}")
        print(f"{'':18} passing in both {(part_lkk & (kept_lkk != 0)).sum():7,}")
    print(f"any pair: |t| > 3 on the other half and the sign guessed {(np.abs(second.t_lkk) > 3).mean() / 2:.1%}")


if __name__ == "__main__":
    launch.run(main, ValueError)
