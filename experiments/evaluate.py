"""Every yardstick for one trained run, on held-out documents.

    python -m experiments.evaluate --workdir=DIR [--only=dictionary,prediction] [--others=DIR2,DIR3] [--labelled=STORE]

Writes evaluation.json: one object a yardstick, written as soon as it is there. One that the file holds already
is not measured again, unless it was of other runs than --others: delete the file to begin anew. A yardstick that fails
is named at the end; the others go on.
"""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments import launch
from tcr_jax.checkpoint import CheckpointError, Run, load_run
from tcr_jax.config import ConfigError
from tcr_jax.files import read_json, write_text
from tcr_jax.params import Params
from tcr_jax.relations.tables import to_json
from tcr_jax.store import Batch, Store, ordered_batches
from tcr_jax.store.split import Split
from tcr_jax.yardsticks.dictionary import measure_dictionary
from tcr_jax.yardsticks.folders import first_folders
from tcr_jax.yardsticks.prediction_ladder import prediction_ladder
from tcr_jax.yardsticks.stability import chosen_pw_mcc, match_concepts, stability

_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run, as given to experiments.train", required=True)
_STORE = flags.DEFINE_string("store", None, "activation store (default: the one that the run was trained on)")
_OUT = flags.DEFINE_string("out", None, "file written (default: WORKDIR/evaluation.json)")
_ONLY = flags.DEFINE_list("only", None, "yardsticks to measure (default: all that can be)")
_OTHERS = flags.DEFINE_list("others", [], "directories of runs from other seeds or documents, for the stability")
_LABELLED = flags.DEFINE_string("labelled", None, "store of labelled texts, for the probing")
_LAGS = flags.DEFINE_integer("lags", 3, "tokens back, where a yardstick fits a process of its own", 1)
_PARENTS = flags.DEFINE_integer("parents", 32, "parents a concept at most, where such a process is to be sparse", 1)
_DISTANCE = flags.DEFINE_integer("distance", 100, "tokens back to the distant past, for the prediction", 1)
_BATCH = flags.DEFINE_integer("batch", 16, "contexts encoded at a time", 1)

Figures = dict[str, Any]

CHOSEN = (0.0, 0.5, 0.7, 0.8, 0.9)
"""|cosine| with a concept of the run that chooses, over which one is kept; 0 keeps all that have a partner."""


class Subject:
    """The run that is evaluated, and its documents."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self.run: Run = load_run(workdir)
        self.store_path = _STORE.value or self.run.config.store
        self.store = Store.open(self.store_path)
        self.run.check_source(self.store.description.source)
        count = self.store.description.documents
        self.domain_n, self.domains = np.full(count, -1), list[str]()
        if self.store.documents is not None and all("/" in name for name in self.store.documents):
            self.domain_n, self.domains = first_folders(self.store.documents)

    def batches(self, split: Split) -> Iterator[Batch]:
        return ordered_batches(self.store, split=split, heldout=self.run.config.heldout, batch=_BATCH.value)

    def launched(self, name: str, *flag: str) -> Figures:
        """What another launcher of ours finds, in a process of its own."""
        out = self.workdir / "evaluation" / f"{name}.json"
        out.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", f"experiments.{name}", f"--workdir={self.workdir}", *flag]
        subprocess.run([*command, f"--out={out}"], check=True)
        return read_json(out)

    def other(self, workdir: str) -> Params:
        """The parameters of another run, which must be of the same activations."""
        run = load_run(workdir)
        self.run.check_source(run.source, workdir)
        return run.params


def dictionary(subject: Subject) -> Figures:
    """FVU, L0, dead share and code variance."""
    heldout = subject.batches("heldout")
    return measure_dictionary(subject.run.params.dictionary, heldout, subject.domain_n, subject.domains)


def prediction(subject: Subject) -> Figures:
    """R^2 of z and x from own past, B, M, both and the controls; `trained` is the run's own process."""
    process = subject.run.params.process
    predicts = process.b_lkk is not None or process.m_kk is not None
    return prediction_ladder(
        subject.run.params.dictionary,
        lambda: subject.batches("train"),
        lambda: subject.batches("heldout"),
        lags=_LAGS.value,
        parents=_PARENTS.value,
        distance=_DISTANCE.value,
        processes={"trained": process} if predicts else None,
        domains={n: subject.domains[d] for n, d in enumerate(subject.domain_n) if d >= 0},
    )


def splice(subject: Subject) -> Figures:
    """Loss of the language model recovered when the reconstruction is spliced in."""
    return subject.launched("splice", f"--store={subject.store_path}")


def hurdle(subject: Subject) -> Figures:
    """Bits a token over the base rate, from the past, the present, and token identity."""
    return {"models": subject.launched("hurdle", f"--store={subject.store_path}", f"--lags={_LAGS.value}")}


def probing(subject: Subject) -> Figures:
    """Labels of texts from one, two and five concepts."""
    return subject.launched("probing", f"--store={_LABELLED.value}")


def recurrence(subject: Subject) -> Figures:
    """Concepts and edges that come back in other runs."""
    return {other: stability(subject.run.params, subject.other(other)) for other in _OTHERS.value}


def selection(subject: Subject) -> Figures:
    """Concepts that one other run has too, judged by another one that had no say."""
    rows_kd = subject.run.params.dictionary.decoder_kd
    matching = {other: match_concepts(rows_kd, subject.other(other).dictionary.decoder_kd) for other in _OTHERS.value}
    return {
        name: {f"over {alike:g}": chosen_pw_mcc(matching[chooser], matching[judge], alike) for alike in CHOSEN}
        for name, (chooser, judge) in choices().items()
    }


def choices() -> dict[str, tuple[str, str]]:
    """Every other run that chooses with every one that judges, by the name of their figures."""
    pairs = itertools.permutations(_OTHERS.value, 2)
    return {f"chosen by {chooser}, judged by {judge}": (chooser, judge) for chooser, judge in pairs}


def interventions(subject: Subject) -> Figures:
    """Sources of delayed edges removed and added inside the language model."""
    out = subject.workdir / "interventions"
    command = [sys.executable, "-m", "experiments.intervene", f"--workdir={subject.workdir}", f"--out={out}"]
    subprocess.run([*command, f"--store={subject.store_path}"], check=True)
    return read_json(out / "interventions.json")


YARDSTICKS: tuple[Callable[[Subject], Figures], ...] = (
    dictionary,
    prediction,
    splice,
    hurdle,
    probing,
    recurrence,
    selection,
    interventions,
)


def chosen(subject: Subject) -> list[Callable[[Subject], Figures]]:
    """Those asked for, or all that this run and these flags allow."""
    by_name = {yardstick.__name__: yardstick for yardstick in YARDSTICKS}
    if _ONLY.value is not None:
        unknown = set(_ONLY.value) - set(by_name)
        if unknown:
            raise ConfigError(f"only={unknown.pop()!r} is no yardstick; choose of {', '.join(by_name)}")
        for name in _ONLY.value:
            if lacking := missing(name, subject.run):
                raise ConfigError(f"{name} {lacking}")
        return [by_name[name] for name in _ONLY.value]
    return [yardstick for name, yardstick in by_name.items() if not missing(name, subject.run)]


def missing(name: str, run: Run) -> str | None:
    """What a yardstick lacks, with the mend."""
    others = len(_OTHERS.value)
    match name:
        case "probing" if not _LABELLED.value:
            return "has no labelled texts: name their store with --labelled=STORE"
        case "recurrence" if others < 1:
            return "has no other run: name one with --others=DIR2"
        case "selection" if others < 2:
            return f"has {others} of two other runs: name them with --others=DIR2,DIR3"
        case "interventions" if run.params.process.b_lkk is None:
            return "has no delayed effects to test: evaluate a run of mode=both or temporal"
    return None


def stands(name: str, figures: Figures) -> bool:
    """Whether figures that are there need not be measured again: those of other runs must be of the same ones."""
    of_others = {"recurrence": set(_OTHERS.value), "selection": set(choices())}
    return name not in of_others or set(figures) - {"seconds"} == of_others[name]


def main() -> None:
    subject = Subject(Path(_WORKDIR.value))
    out = Path(_OUT.value) if _OUT.value else subject.workdir / "evaluation.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Figures] = read_json(out) if out.exists() else {}
    failed: list[str] = []
    for yardstick in chosen(subject):
        name = yardstick.__name__
        if name in found and stands(name, found[name]):
            print(f"{name}: kept from {out}", flush=True)
            continue
        print(f"{name}: {yardstick.__doc__}", flush=True)
        started = time.monotonic()
        try:
            figures = yardstick(subject)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name}: {' '.join(error.cmd[1:])} ended with status {error.returncode}")
            continue
        except (ValueError, CheckpointError) as error:
            failed.append(f"{name}: {error}")
            continue
        found[name] = {**figures, "seconds": time.monotonic() - started}
        write_text(out, to_json(found))
        for key, value in figures.items():
            if isinstance(value, float) and ("/" not in key or key.startswith("all/")):
                print(f"  {value:10.4f}  {key}")
    print(out)
    if failed:
        sys.exit("\n".join(["error: not measured:", *failed]))


if __name__ == "__main__":
    launch.run(main)
