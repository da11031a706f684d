"""The launcher of planted relations: what it takes over from an earlier call, and what not."""

import json
from pathlib import Path

from tests import programs


def test_text_of_other_flags_is_refused(tmp_path: Path, cache: Path) -> None:
    """Text that another seed planted is named with the difference; what a stopped call left of it is removed."""
    command = ("-m", "experiments.planted", f"--fillers={tmp_path / 'corpus'}", f"--out={tmp_path}", "--seed=1")
    left = tmp_path / "text.partial" / "legal" / "0.txt"
    left.parent.mkdir(parents=True)
    left.write_text("of seed 0")
    done = programs.run(programs.environment(cache), *command)
    assert done.returncode == 1 and not left.exists()  # there is no corpus
    (tmp_path / "text").mkdir()
    made = {"seed": 0, "tokens": 150_000, "fillers": str(tmp_path / "corpus")}
    (tmp_path / "text" / "made_of.json").write_text(json.dumps(made))
    done = programs.run(programs.environment(cache), *command)
    assert done.returncode == 1
    assert f"{tmp_path / 'text'} was made with other flags (then -> now): seed: 0 -> 1; give another" in done.stderr
