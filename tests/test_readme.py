"""What the README shows runs as it is written."""

import re
from pathlib import Path

import pytest

from tcr_jax.checkpoint import load_run
from tests.programs import ROOT


def test_the_solver_in_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A world written, solved, told in words, and saved as a run; no warning on the way."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "identify(" in block)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert len(re.findall(r"-> \d+ +lag +\d +[+-]\d\.\d{4} ± \d\.\d{4}(?:  in doubt.*)?$", printed, re.MULTILINE)) == 20
    assert "A1" in printed and "A4 holds" in printed
    assert load_run("runs/solved").config.latents == 8
