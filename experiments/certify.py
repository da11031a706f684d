"""Edges between the concepts of a trained run that two halves of its training documents find alike.

    python -m experiments.certify --workdir=RUN --out=FILE.csv [--lags=3] [--within=current] [--t=5] [--first_t=10]
    python -m experiments.certify --workdir=RUN --out=FILE.csv --instantaneous

Writes one row an edge: those that pass `first_t` first, and of them the largest predicted effect, which is what taking
the source away would change of the target, in the target's standard deviations. Delayed edges (made for
`experiments.intervene --edges=FILE.csv`) are slopes on one source at a time, see tcr_jax/yardsticks/slopes.py;
instantaneous ones are M in closed form, see tcr_jax/yardsticks/present.py. The column `run` tells the run's concepts
from those of others, which refuse the table.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments import launch
from tcr_jax.checkpoint import load_run
from tcr_jax.files import write_text
from tcr_jax.store import Store
from tcr_jax.yardsticks.codes import code_table, halves, sizes
from tcr_jax.yardsticks.edge_table import edge_table, to_csv
from tcr_jax.yardsticks.lexical import bigram, current, previous
from tcr_jax.yardsticks.present import present_effects
from tcr_jax.yardsticks.slopes import Slopes, confirmed, slopes

GROUPS = {"current": current, "previous": previous, "bigram": bigram, "all": None}

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run whose dictionary is taken", required=True)
_OUT = flags.DEFINE_string("out", None, "CSV written", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_LAGS = flags.DEFINE_integer("lags", 3, "tokens back that edges reach", 1)
_PRESENT = flags.DEFINE_bool("instantaneous", False, "effects within the token, M, in the place of delayed ones")
_WITHIN = flags.DEFINE_enum("within", "current", list(GROUPS), "tokens compared: those of one id, of one pair, or all")
_FOLDS = flags.DEFINE_integer("folds", 8, "groups of documents that standard errors leave out in turn", 2)
_T = flags.DEFINE_float("t", 5, "|t| that an edge passes in each half", 0)
_FIRST = flags.DEFINE_float("first_t", 10, "|t| in each half of the edges that come first", 0)
_EFFECT = flags.DEFINE_float("effect", 0.02, "standardised effect that an edge passes in each half", 0)


def main() -> None:
    Path(_OUT.value).parent.mkdir(parents=True, exist_ok=True)
    run = load_run(_WORKDIR.value)
    store = Store.open(_STORE.value or run.config.store)
    run.check_source(store.description.source)
    codes = code_table(run.params.dictionary, store, "train", run.config.heldout)
    std_k, strength_k = sizes(codes)
    both, within = halves(codes, run.config.heldout), GROUPS[_WITHIN.value]
    if _PRESENT.value:
        first, second = present_effects(*both, folds=_FOLDS.value, within=within)
    else:
        first, second = (slopes(half, _LAGS.value, folds=_FOLDS.value, within=within) for half in both)
    kept_lkk = confirmed(first, second, std_k, t=_T.value, effect=_EFFECT.value)
    lag = 0 if _PRESENT.value else 1
    edges = edge_table(kept_lkk, first, second, std_k, strength_k, lag_of_first=lag, first_t=_FIRST.value)
    write_text(Path(_OUT.value), to_csv(edges, run.params.dictionary.decoder_kd))
    _report(kept_lkk, first, second, std_k)


def _report(kept_lkk: np.ndarray, first: Slopes, second: Slopes, std_k: np.ndarray) -> None:
    """How many edges the first half selects, and how many of them the second one finds too."""
    unlimited = Slopes(first.effect_lkk, np.full_like(first.t_lkk, np.inf))
    selected_lkk = confirmed(first, first, std_k, t=_T.value, effect=_EFFECT.value) != 0
    same_lkk = confirmed(unlimited, second, std_k, t=3, effect=0) != 0
    clear_lkk = confirmed(first, second, std_k, t=_FIRST.value, effect=_EFFECT.value) != 0
    apart_lkk = np.broadcast_to(~np.eye(len(std_k), dtype=bool), kept_lkk.shape)
    for name, part_lkk in (("between concepts", apart_lkk), ("own past", ~apart_lkk)):
        selected = selected_lkk & part_lkk
        again = (selected & same_lkk).sum() / max(selected.sum(), 1)
        print(f"{name:18} selected on one half {selected.sum():7,}  same sign and |t| > 3 on the other {again:6.1%}")
        print(f"{'':18} passing in both {(part_lkk & (kept_lkk != 0)).sum():7,}", end="")
        print(f"  with |t| > {_FIRST.value:g} {(part_lkk & (kept_lkk != 0) & clear_lkk).sum():7,}")
    t_e = second.t_lkk[second.effect_lkk != 0]
    print(f"any pair: |t| > 3 on the other half and the sign guessed {(np.abs(t_e) > 3).mean() / 2:.1%}")


if __name__ == "__main__":
    launch.run(main)
