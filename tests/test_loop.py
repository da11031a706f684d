"""What the loop checks before it trains, and what it leaves where it ends early."""

from pathlib import Path

import numpy as np
import pytest

from tcr_jax import Config, ConfigError, make_mesh
from tcr_jax.checkpoint import CheckpointError, Checkpoints
from tcr_jax.loop import check_fit, claim, train
from tcr_jax.params import parameter_count
from tcr_jax.store import Source, Store, import_arrays


def test_fewer_tokens_than_parameters_is_a_warning_with_both_numbers(small_store: Path) -> None:
    """The run goes on, and the user knows."""
    store, config = Store.open(small_store), Config(latents=64, lags=2)
    (warning,) = check_fit(config, store)
    tokens, parameters = store.tokens("train", config.heldout), parameter_count(config, 16)
    assert parameters == 2 * 64 * 16 + 64 + 16 + 16 + 2 + 2 * 64 * 64 + 64 * 64 + 64
    assert f"{tokens:,} training tokens are fewer than {parameters:,} parameters" in warning
    assert check_fit(Config(latents=8, topk=2, lags=1), store) == []


@pytest.mark.parametrize(("lags", "fits"), [(5, True), (6, False)])
def test_documents_must_be_longer_than_the_lags(tmp_path: Path, lags: int, fits: bool) -> None:
    """Contexts of 12 hold two documents of 6 each: with 6 lags no token has its whole past."""
    rng = np.random.default_rng(0)
    x_btd, token_bt = rng.normal(size=(40, 12, 4)).astype(np.float32), np.zeros((40, 12), np.int32)
    documents = np.repeat(np.arange(80), 6).reshape(40, 12)
    source = Source(model="m", layer=1, width=4, context=12, dtype="float32")
    import_arrays(tmp_path, source, x_btd, token_bt, documents=documents, skip_first=0)
    store, config = Store.open(tmp_path), Config(latents=4, topk=2, lags=lags)
    if fits:
        check_fit(config, store)
    else:
        with pytest.raises(ConfigError, match="lags=6, but no document has more than 6 kept tokens in a row"):
            check_fit(config, store)


@pytest.mark.parametrize(("heldout", "use"), [(0.001, "held out"), (0.9999, "to train on")])
def test_a_split_without_documents_is_named(small_store: Path, tmp_path: Path, heldout: float, use: str) -> None:
    """Before the directory of the run is taken, and before a step is lost."""
    config = Config(latents=4, topk=2, batch=8, steps=2, heldout=heldout, store=str(small_store))
    with pytest.raises(ConfigError, match=f"heldout={heldout}: none of the store's 80 documents is {use}; change"):
        train(config, tmp_path, make_mesh(config))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b'{"latents": 4', b"\xff\xfe", b'{"latents": "caf\xe9"}'])
def test_a_damaged_configuration_is_named(tmp_path: Path, content: bytes) -> None:
    """Empty, cut short, or not UTF-8: the error says which file."""
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match="config.json: not the JSON object of a configuration"):
        claim(tmp_path, Config())


@pytest.mark.parametrize("full", [False, True])
def test_an_error_waits_for_the_checkpoint_that_is_being_written(
    small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """Ctrl-C right after a save was started loses nothing; where the save fails, too, it is still Ctrl-C."""
    close = Checkpoints.close

    def close_on_a_full_disk(self: Checkpoints) -> None:
        close(self)
        raise CheckpointError("no room")

    def interrupt(step: int) -> bool:
        if step == 2:
            raise KeyboardInterrupt
        return False

    if full:
        monkeypatch.setattr(Checkpoints, "close", close_on_a_full_disk)
    config = Config(latents=4, topk=2, batch=8, steps=4, checkpoint_every=2, store=str(small_store))
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, make_mesh(config), should_stop=interrupt)
    assert (tmp_path / "checkpoints" / "2").is_dir()
