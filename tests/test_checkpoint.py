"""Checkpoints: exact on any mesh, the best and the latest kept, and damage noticed before it is used."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tcr_jax import Config, checkpoint
from tcr_jax.checkpoint import CheckpointError, Checkpoints, fingerprint, load_run
from tcr_jax.mesh import make_mesh
from tcr_jax.store import Source
from tcr_jax.train_step import init_state, make_init_state

# Orbax abandons its other reads when one fails, and their event loop complains whenever it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

D = 8
CONFIG = Config(latents=48, topk=4, batch=8, keep=2)
SOURCE = Source(model="m", layer=1, width=D, context=4, dtype="float32")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workdir with checkpoints 1, 3 and 4, of which 1 is the best; 2 was dropped."""
    workdir = tmp_path_factory.mktemp("run")
    (workdir / "config.json").write_text(CONFIG.to_json())
    checkpoints = Checkpoints(workdir, CONFIG, SOURCE, "data", make_mesh(CONFIG))
    for step, loss in [(1, 0.1), (2, 0.9), (3, 0.5), (4, 0.6)]:
        checkpoints.save(state_at(step), {"next": step}, loss)
    checkpoints.close()
    return workdir


@pytest.fixture
def workdir(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "run"))


def state_at(step: int):
    """A state in which B differs from step to step."""
    state = make_init_state(CONFIG, D, make_mesh(CONFIG))(jnp.zeros(D), jnp.ones(()))
    b_lkk = jax.random.normal(jax.random.key(step), (3, 48, 48))
    process = state.params.process.replace(b_lkk=jax.device_put(b_lkk, state.params.process.b_lkk.sharding))
    return state.replace(step=jnp.int32(step), params=state.params.replace(process=process))


def restore(workdir: Path, config: Config = CONFIG, source: Source = SOURCE, data: str = "data"):
    checkpoints = Checkpoints(workdir, config, source, data, make_mesh(config))
    try:
        return checkpoints.restore_latest()
    finally:
        checkpoints.close()


def damage(checkpoint: Path, harm: str = "delete") -> None:
    """Harm every data file of the parameters: Orbax spreads the arrays as it likes, and keeps copies nothing reads."""
    for victim in (checkpoint / "params").rglob("d/*"):
        content = bytearray(victim.read_bytes())
        if harm == "delete":
            victim.unlink()
        elif harm == "truncate":
            victim.write_bytes(content[: len(content) // 2])
        else:
            content[len(content) // 2] ^= 1
            victim.write_bytes(content)


def test_latest_and_best_are_kept(saved: Path) -> None:
    """keep=2 leaves the last two, and beside them the one of lowest held-out loss."""
    assert sorted(int(path.name) for path in (saved / "checkpoints").iterdir() if path.name.isdigit()) == [1, 3, 4]


def test_what_was_saved_comes_back_bit_by_bit(saved: Path) -> None:
    """Every array of the state, the random key and the data position; on another mesh, too."""
    expected = state_at(4)
    for config in (CONFIG, dataclasses.replace(CONFIG, model_shards=4)):
        state, position, damaged = restore(saved, config)
        assert (position, damaged) == ({"next": 4}, [])
        assert jax.tree.structure(state) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
            assert a.dtype == b.dtype
            raw = [jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in (a, b)]
            np.testing.assert_array_equal(*raw)
        assert state.params.process.b_lkk.sharding.shard_shape((3, 48, 48))[1] == 48 // config.model_shards


def test_load_run_needs_no_mesh(saved: Path) -> None:
    """A saved model loads on one device with its configuration, source and step; any kept step can be asked for."""
    run = load_run(saved)
    assert (run.config, run.source, run.step) == (CONFIG, SOURCE, 4)
    for step, params in ((4, run.params), (1, load_run(saved, step=1).params)):
        np.testing.assert_array_equal(params.process.b_lkk, state_at(step).params.process.b_lkk)


def test_a_workdir_without_a_run_says_so(tmp_path: Path, saved: Path) -> None:
    """Missing run, run without checkpoint, unknown step."""
    with pytest.raises(CheckpointError, match="holds no run: config.json is missing"):
        load_run(tmp_path)
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_run(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds no checkpoint 2; found: \[1, 3, 4\]"):
        load_run(saved, step=2)


@pytest.mark.parametrize("harm", ["truncate", "flip", "delete"])
def test_a_damaged_latest_checkpoint_falls_back(workdir: Path, harm: str) -> None:
    """The checkpoint before is used, the damaged one is named and set aside, not deleted."""
    damage(workdir / "checkpoints" / "4", harm)
    restored = restore(workdir)
    assert int(restored.state.step) == 3
    assert restored.position == {"next": 3}
    assert len(restored.damaged) == 1
    assert "checkpoint 4 is damaged" in restored.damaged[0]
    assert (workdir / "damaged" / "4").is_dir()
    assert not (workdir / "checkpoints" / "4").exists()


def rewrite(checkpoint: Path, change: Callable[[dict], object]) -> None:
    """Changes what a checkpoint says about itself."""
    note = checkpoint / "run" / "metadata"
    record = json.loads(note.read_text())
    change(record)
    note.write_text(json.dumps(record))


def test_an_array_changed_behind_a_valid_file_is_noticed(workdir: Path) -> None:
    """The fingerprint catches what the file format does not: here a checkpoint with another's recorded fingerprint."""
    name = ".params.process.b_lkk"
    rewrite(workdir / "checkpoints" / "4", lambda record: record["fingerprint"].update({name: 1}))
    restored = restore(workdir)
    assert int(restored.state.step) == 3
    assert ".params.process.b_lkk changed on disk" in restored.damaged[0]


def test_a_position_that_was_changed_is_noticed(workdir: Path) -> None:
    """Training would go on elsewhere in the data; a checkpoint of an earlier version, without checksum, is believed."""
    rewrite(workdir / "checkpoints" / "4", lambda record: record["position"].update(next=5))
    restored = restore(workdir)
    assert (int(restored.state.step), restored.position) == (3, {"next": 3})
    assert "checkpoint 4 is damaged (ValueError: position changed on disk)" in restored.damaged[0]
    rewrite(workdir / "checkpoints" / "3", lambda record: record["fingerprint"].pop("position"))
    assert int(restore(workdir).state.step) == 3


def test_all_checkpoints_damaged_is_an_error(workdir: Path) -> None:
    """Training never silently starts again from step 0: however often it is started, nothing is moved."""
    for step in (1, 3, 4):
        damage(workdir / "checkpoints" / str(step))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="checkpoint 4 .*; checkpoint 3 .*; checkpoint 1 .*None is left"):
            restore(workdir)
    assert not (workdir / "damaged").exists()


def test_a_step_damaged_twice_is_set_aside_twice(workdir: Path) -> None:
    """A checkpoint saved again in the place of a damaged one, and damaged again, keeps neither from being kept."""
    for _ in range(2):
        damage(workdir / "checkpoints" / "4")
        assert int(restore(workdir).state.step) == 3
        checkpoints = Checkpoints(workdir, CONFIG, SOURCE, "data", make_mesh(CONFIG))
        checkpoints.save(state_at(4), {"next": 4}, 0.6)
        checkpoints.close()
    assert sorted(path.name for path in (workdir / "damaged").iterdir()) == ["4", "4-1"]


def test_a_report_falls_back_too(workdir: Path) -> None:
    """`load_run` reads the checkpoint before a damaged one and says so; asked for the damaged one, it refuses."""
    damage(workdir / "checkpoints" / "4")
    run = load_run(workdir)
    assert run.step == 3
    assert "checkpoint 4 is damaged" in run.damaged[0]
    with pytest.raises(CheckpointError, match="checkpoint 4 is damaged"):
        load_run(workdir, step=4)


def test_what_is_not_damage_moves_nothing(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory, or a checkpoint of another version, is an error of its own; no checkpoint is set aside."""
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "fingerprint", lambda _: (_ for _ in ()).throw(MemoryError("no room")))
        with pytest.raises(MemoryError):
            restore(workdir)
    rewrite(workdir / "checkpoints" / "4", lambda record: record["config"].update(a_knob_of_another_version=1))
    with pytest.raises(CheckpointError, match="another version of this library: no such field: a_knob"):
        restore(workdir)
    assert not (workdir / "damaged").exists()


def test_another_store_is_refused(workdir: Path) -> None:
    """A position in the data means nothing where the contents are others, be the description the same."""
    with pytest.raises(CheckpointError, match="contents of the store: data -> other"):
        restore(workdir, data="other")


@pytest.mark.parametrize(
    ("config", "source", "culprit"),
    [
        (CONFIG, dataclasses.replace(SOURCE, width=10), "width: 8 -> 10"),
        (CONFIG, dataclasses.replace(SOURCE, text="other"), "text: '' -> 'other'"),
        (dataclasses.replace(CONFIG, latents=24), SOURCE, "latents: 48 -> 24"),
        (dataclasses.replace(CONFIG, lags=2), SOURCE, "lags: 3 -> 2"),
    ],
)
def test_a_checkpoint_of_another_shape_is_refused(workdir: Path, config: Config, source: Source, culprit: str) -> None:
    """Another width, text, dictionary or lags: the difference is named, and the checkpoint is left where it is."""
    with pytest.raises(CheckpointError, match=culprit):
        restore(workdir, config, source)
    assert (workdir / "checkpoints" / "4").is_dir()


def test_a_run_refuses_activations_of_another_kind(saved: Path) -> None:
    """Width, dtype, model and layer must be those trained on; other text of the same model is welcome."""
    run = load_run(saved)
    run.check_source(dataclasses.replace(SOURCE, text="held-out", context=9))
    with pytest.raises(CheckpointError, match="width: 8 -> 10; dtype: 'float32' -> 'bfloat16'"):
        run.check_source(dataclasses.replace(SOURCE, width=10, dtype="bfloat16"))
    with pytest.raises(CheckpointError, match="the activations of runs/other are not those .* layer: 1 -> 2"):
        run.check_source(dataclasses.replace(SOURCE, layer=2), "runs/other")


def test_the_fingerprint_sees_every_bit() -> None:
    """Flipping any one bit, or swapping two entries, changes the fingerprint; the mesh does not."""
    values = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    number = fingerprint({"a": jnp.asarray(values)})["a"]
    for bit in range(32):
        flipped = values.copy()
        flipped.view(np.uint32)[1, 2] ^= np.uint32(1 << bit)
        assert fingerprint({"a": jnp.asarray(flipped)})["a"] != number
    assert fingerprint({"a": jnp.asarray(values[::-1])})["a"] != number
    mesh = make_mesh(dataclasses.replace(CONFIG, model_shards=2))
    for spec in (P("model"), P("data", "model"), P(None, ("data", "model")), P()):
        spread = jax.device_put(np.resize(values, (8, 16)), NamedSharding(mesh, spec))
        assert fingerprint({"a": spread}) == fingerprint({"a": jnp.asarray(np.resize(values, (8, 16)))})


def test_the_initial_state_is_a_state() -> None:
    """`init_state` and its jitted, sharded form agree."""
    eager = init_state(CONFIG, D, jnp.zeros(D), jnp.ones(()))
    jitted = make_init_state(CONFIG, D, make_mesh(CONFIG))(jnp.zeros(D), jnp.ones(()))
    np.testing.assert_allclose(eager.params.dictionary.decoder_kd, jitted.params.dictionary.decoder_kd, atol=1e-6)
