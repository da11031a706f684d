"""What the loop checks before it trains."""

from pathlib import Path

import numpy as np
import pytest

from tcr_jax import Config, ConfigError
from tcr_jax.loop import check_fit
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
