"""Worlds say which assumptions of the theory they meet."""

import pytest

from tcr_jax.worlds import PRESETS, WorldConfig, assumptions, make_world

BROKEN = {
    "assumptions": {"a6_blocks"},
    "drift": {"a1_white"},
    "noisy10": {"a1_white"},
    "wide": {"a2_rank"},
    "gaussian": {"a4_not_gaussian"},
    "m3": {"a5_one_child", "a6_blocks"},
    "chain": {"a6_blocks"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_preset_breaks_what_its_name_says(name: str) -> None:
    """A world that meets A1 to A5 breaks those assumptions, and no others, that a preset changes."""
    values = {**PRESETS["assumptions"], **PRESETS[name]}
    if name not in ("m3", "chain", "assumptions"):
        values |= {"graph": "a6", "block": 2, "instant_parents": 0.5}
    if name == "m3":
        values["graph"] = "random"
    found = assumptions(make_world(WorldConfig(**values)))
    assert {field for field in found._fields if not getattr(found, field).holds} == BROKEN[name]


def test_the_numbers_behind_the_answers() -> None:
    """Condition numbers, growth, counts: each as configured, and quoted in words."""
    config = WorldConfig(latents=32, own_past=True, graph="a6", block=4, condition=1e4, noise="gaussian")
    found = assumptions(make_world(config))
    assert found.a2_rank.number == pytest.approx(1e4, rel=1e-2) and "A 1e+04" in found.a2_rank.words
    assert found.a3_stable.number == pytest.approx(0.9, rel=1e-2)
    assert found.a4_not_gaussian.number == 32
    assert found.a6_blocks.number <= 4
    assert found.in_words()[3] == "A4 fails: 32 of 32 innovations are Gaussian"


def test_a_process_without_delays_at_the_last_lag_has_no_full_rank() -> None:
    """Too few non-zeros for rank k: the condition number is infinite."""
    found = assumptions(make_world(WorldConfig(latents=16, parents=0.5)))
    assert not found.a2_rank.holds and found.a2_rank.number == float("inf")
