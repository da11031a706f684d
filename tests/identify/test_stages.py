"""Stages: done once, kept whole, and refused to another run."""

import json
from pathlib import Path

import numpy as np
import pytest

from tcr_jax.identify import NotIdentifiable
from tcr_jax.identify.stages import SETTINGS, Stages

RESULT = {"a_kk": np.eye(2), "count": np.asarray(3.0)}
WITH = {"latents": 4, "lags": 2}


def test_a_stage_is_computed_once(tmp_path: Path) -> None:
    """A second run reads what the first one wrote, of the same dtypes and shapes."""
    assert Stages(tmp_path / "new", WITH).run("one", lambda: RESULT) is RESULT
    read = Stages(tmp_path / "new", WITH).run("one", lambda: pytest.fail("computed again"))
    assert read.keys() == RESULT.keys()
    for name, array in RESULT.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_a_stage_that_failed_leaves_nothing(tmp_path: Path) -> None:
    """An interrupted computation is made anew."""

    def killed() -> dict[str, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path, WITH).run("one", killed)
    assert Stages(tmp_path, WITH).run("one", lambda: RESULT) is RESULT


def test_other_settings_are_refused(tmp_path: Path) -> None:
    """By name and value, then and now; but where no stage was finished there is nothing to protect."""
    Stages(tmp_path, WITH | {"lags": 1})
    Stages(tmp_path, WITH).run("one", lambda: RESULT)
    with pytest.raises(NotIdentifiable, match="lags: 2 -> 3.*another workdir"):
        Stages(tmp_path, WITH | {"lags": 3})


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    """Not a traceback of the JSON reader."""
    Stages(tmp_path, WITH).run("one", lambda: RESULT)
    (tmp_path / SETTINGS).write_text("{")
    with pytest.raises(NotIdentifiable, match="identify.json"):
        Stages(tmp_path, WITH)


def test_a_damaged_stage_is_named(tmp_path: Path) -> None:
    """Which file, and what to do."""
    stages = Stages(tmp_path, WITH)
    (tmp_path / "one.npz").write_bytes(b"PK nothing")
    with pytest.raises(NotIdentifiable, match="one.npz.*delete"):
        stages.run("one", lambda: RESULT)


def test_without_a_workdir_nothing_is_kept() -> None:
    """Every run computes."""
    stages = Stages(None, WITH)
    assert stages.run("one", lambda: RESULT) is stages.run("one", lambda: RESULT) is RESULT


def test_settings_are_kept_in_words(tmp_path: Path) -> None:
    """As JSON, for people."""
    Stages(tmp_path, WITH)
    assert json.loads((tmp_path / SETTINGS).read_text(encoding="utf-8")) == WITH
