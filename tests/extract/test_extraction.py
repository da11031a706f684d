"""Laws of whole extractions, run as users run them: killed, shared, repeated, and refused."""

import dataclasses
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tcr_jax.extract.config import ExtractConfig
from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.extraction import Progress, extract
from tcr_jax.files import PARTIAL
from tcr_jax.knobs import ConfigError
from tcr_jax.store import Store, StoreError, finished_shards
from tests import programs
from tests.extract.tiny_models import tiny_model


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    """Sums are taken in the same order in every process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def config(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> ExtractConfig:
    """150 documents of random words through block 2 of the tiny Llama, in shards of a few contexts."""
    directory = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(0)
    for number in range(150):
        text = " ".join(rng.choice(["the", "court", "in", "Paris", "affirmed", "an", "appeal"], rng.integers(5, 90)))
        (directory / f"{number}.txt").write_text(text)
    return ExtractConfig(
        model=str(llama),
        text=(str(directory),),
        layer=2,
        context=32,
        dtype="float32",
        batch=4,
        max_tokens=0,
        shard_megabytes=0.004,
    )


@pytest.fixture(scope="module")
def complete(config: ExtractConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of `config`, written by one process without interruption."""
    directory = tmp_path_factory.mktemp("complete")
    assert extract(config, directory) is not None
    return directory


def start(config: ExtractConfig, directory: Path, *flags: str) -> subprocess.Popen[str]:
    """The launcher, in a process of its own."""
    values = dataclasses.asdict(config) | {"text": config.text[0], "out": directory}
    command = ["-m", "experiments.extract", *(f"--{name}={value}" for name, value in values.items())]
    return programs.start(os.environ | {"OMP_NUM_THREADS": "1"}, *command, *flags)


def files(directory: Path) -> dict[str, bytes]:
    """The files of a store; what a killed writer left unfinished is none."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix != PARTIAL}


def test_store_holds_the_text(config: ExtractConfig, complete: Path) -> None:
    """Pieces of a document's tokens, joined, are in the document named so; kept tokens and source are described."""
    store = Store.open(complete)
    assert store.documents is not None
    contexts = [store[index] for index in range(len(store))]
    texts = [(Path(config.text[0]) / name).read_text() for name in store.documents]
    short = 0
    for context in contexts:
        for document in set(context.document_t.tolist()) - {-1}:
            piece = "".join(store.pieces[token] for token in context.token_t[context.document_t == document])
            short += piece in texts
            assert piece in texts[document]
    assert short
    description = store.description
    assert description.tokens == sum(int(context.kept_t.sum()) for context in contexts)
    assert description.source.layer == 2 and description.source.width == 16
    assert description.source.hook == "residual stream after block 2 of 3, computed in float32"
    assert len(description.shards) > 10


def test_killed_extraction_continues(config: ExtractConfig, complete: Path, tmp_path: Path) -> None:
    """Killed in the middle and started again, an extraction ends with the very files of an uninterrupted one."""
    process = start(config, tmp_path)
    while process.poll() is None and len(finished_shards(tmp_path)) < 3:
        time.sleep(0.002)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    with pytest.raises(StoreError, match="incomplete"):
        Store.open(tmp_path)
    done, seen = finished_shards(tmp_path), []
    assert extract(config, tmp_path, report=seen.append) is not None
    assert files(tmp_path) == files(complete)
    assert 0 < len(done) < len(finished_shards(complete))
    assert 0 < seen[-1].total < Store.open(complete).description.positions


def test_processes_share_the_work(config: ExtractConfig, complete: Path, tmp_path: Path) -> None:
    """Two processes at once write the very files that one writes, each a part of the shards."""
    processes = [start(config, tmp_path, "--processes=2", f"--process={index}") for index in (0, 1)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert any("complete, " in printed for printed, _ in outputs)
    assert files(tmp_path) == files(complete)
    totals = [int(printed.split(" of ")[1].split(" tokens")[0].replace(",", "")) for printed, _ in outputs]
    assert min(totals) > 0 and abs(totals[0] - totals[1]) < max(totals) / 2


def test_other_processes_shards_are_left_to_them(config: ExtractConfig, complete: Path, tmp_path: Path) -> None:
    """A process writes its own shards only, and completes the store only if all are there."""
    assert extract(config, tmp_path, process_index=1, process_count=3) is None
    assert finished_shards(tmp_path) == {index for index in finished_shards(complete) if index % 3 == 1}
    assert extract(config, tmp_path) is not None


def test_repeating_changes_nothing(config: ExtractConfig, complete: Path) -> None:
    """An extraction that is complete is not computed again."""
    before, seen = files(complete), []
    assert extract(config, complete, report=seen.append) is not None
    assert files(complete) == before and seen[-1].total == 0


def test_progress_adds_up(config: ExtractConfig, tmp_path: Path) -> None:
    """Progress counts documents while reading, then tokens up to the total announced before the first one."""
    seen: list[Progress] = []
    extract(dataclasses.replace(config, max_tokens=1000), tmp_path, report=seen.append)
    tokens = [progress.tokens for progress in seen if progress.total]
    assert tokens[0] == 0 and tokens == sorted(tokens) and 900 < tokens[-1] == seen[-1].total <= 1000
    documents = [progress.documents for progress in seen if progress.step == "reading text"]
    assert documents == sorted(documents) and 0 < documents[-1] <= seen[-1].documents


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layer": 1}, "layer: 2 -> 1"),
        ({"context": 16}, "context: 32 -> 16"),
        ({"skip_first": 2}, "kept_policy: "),
        ({"max_tokens": 2000}, "text: "),
        ({"shard_megabytes": 1.0}, "shards: "),
    ],
)
def test_other_flags_are_refused(config: ExtractConfig, complete: Path, changes: dict[str, Any], named: str) -> None:
    """A directory that holds a store of other flags is left alone, with the difference named."""
    before = files(complete)
    with pytest.raises(StoreError, match="begun with other settings") as error:
        extract(dataclasses.replace(config, **changes), complete)
    assert named in str(error.value)
    assert files(complete) == before


def test_changed_text_is_refused(config: ExtractConfig, tmp_path: Path) -> None:
    """A store is not continued with another text, even where only a word of it has changed."""
    text = tmp_path / "text.txt"
    text.write_text("the court in Paris " * 20)
    changed = dataclasses.replace(config, text=(str(text),))
    extract(changed, tmp_path / "out")
    text.write_text("the court in Paris " * 19 + "the Paris in court ")
    with pytest.raises(StoreError, match="begun with other settings .text: .* digest .* -> .* digest"):
        extract(changed, tmp_path / "out")


def test_beginning_of_sequence_is_never_kept(config: ExtractConfig, tmp_path: Path) -> None:
    """With special_tokens=bos every chunk opens with that token, and its position is dropped even if no other is."""
    extract(dataclasses.replace(config, special_tokens="bos", skip_first=0, outlier_norm=1e9), tmp_path)
    store = Store.open(tmp_path)
    for index in range(len(store)):
        context = store[index]
        assert context.token_t[0] == 0
        assert (context.kept_t == ((context.token_t != 0) & (context.document_t >= 0))).all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layer": 4}, "layer=4: LlamaForCausalLM has blocks 1 to 3"),
        ({"context": 4096, "text": ("python-docs",), "max_tokens": 9000}, "knows 2048 positions; take fewer"),
        ({"max_tokens": 20}, "tokens, fewer than one context of 32"),
        ({"text": ("/no/such",)}, "/no/such: no such file or directory"),
        ({"model": "/no/such"}, "/no/such: no such file or directory"),
    ],
)
def test_bad_input_writes_nothing(config: ExtractConfig, tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    """Text or a model that cannot be used is named before anything is written."""
    with pytest.raises(ExtractError) as error:
        extract(dataclasses.replace(config, **changes), tmp_path / "out")
    assert named in str(error.value)
    assert not (tmp_path / "out").exists()


def test_tokenizer_of_another_model_is_refused(config: ExtractConfig, tmp_path: Path) -> None:
    """A tokenizer that gives tokens beyond the model's is named; one for a model that has none can be given."""
    tiny_model("llama", vocabulary=100).save_pretrained(tmp_path / "small")
    with pytest.raises(ExtractError, match="gives token 299, but the model knows 100 tokens; name"):
        extract(dataclasses.replace(config, model=str(tmp_path / "small"), tokenizer=config.model), tmp_path / "out")


def test_tokenizer_without_a_beginning_is_refused(config: ExtractConfig, tmp_path: Path) -> None:
    """special_tokens=bos with a tokenizer that has no such token is an error."""
    shutil.copytree(config.model, tmp_path / "model")
    settings = tmp_path / "model" / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace('"bos_token": "<s>"', '"bos_token": null'))
    with pytest.raises(ExtractError, match="special_tokens=bos: the tokenizer of .* has no such token"):
        extract(dataclasses.replace(config, model=str(tmp_path / "model"), special_tokens="bos"), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layer": -1}, "layer=-1 must be at least 0"),
        ({"batch": 0}, "batch=0 must be at least 1"),
        ({"context": 5}, "context=5 leaves at most one position after skip_first=4"),
        ({"text": ()}, "text: no source given"),
        ({"outlier_norm": 0.5}, "outlier_norm=0.5 must be over 1"),
        ({"shard_megabytes": 0.0}, "shard_megabytes=0.0 must be over 0"),
        ({"dtype": "float64"}, "dtype='float64' is unknown; choose one of auto, bfloat16, float32"),
    ],
)
def test_impossible_values_are_refused(changes: dict[str, Any], named: str) -> None:
    """A configuration that cannot be run is refused on creation, with field, value and mend."""
    with pytest.raises(ConfigError) as error:
        ExtractConfig(**changes)
    assert named in str(error.value)


def test_launcher_prints_errors_without_a_traceback(config: ExtractConfig, tmp_path: Path) -> None:
    """The launcher ends with status 1 and one line where the user can mend the cause."""
    process = start(config, tmp_path / "out", "--processes=2", "--process=2")
    printed, errors = process.communicate()
    assert process.returncode == 1 and not printed
    assert errors == "error: process=2 counts from 0: it must be under processes=2\n"
