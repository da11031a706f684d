"""Laws of running on from one token."""

import numpy as np
import pytest
import torch

from tcr_jax.intervene.edited_run import edited_run
from tcr_jax.intervene.run_on import remember, run_on
from tests.extract.tiny_models import tiny_model

TOKENS_T = np.random.default_rng(0).integers(1, 300, 11)
START, HORIZON = 4, 3


@pytest.mark.parametrize("edited_layer", (1, 2))
@pytest.mark.parametrize("architecture", ("llama", "gpt2", "gpt_neox", "falcon"))
def test_equals_a_whole_run_with_the_same_edit(architecture: str, edited_layer: int) -> None:
    """What was computed once for the tokens before serves every edit, whatever follows in the text."""
    model = tiny_model(architecture)
    change_nd = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    text = remember(model, TOKENS_T, edited_layer=edited_layer, layer=3)
    with torch.no_grad():
        x_nhd = run_on(model, text, start=START, horizon=HORIZON, change_nd=change_nd)
        for n, change_d in enumerate(change_nd):
            change_td = torch.zeros(11, 16)
            change_td[START] = change_d
            whole = edited_run(
                model, TOKENS_T[None], {edited_layer: lambda x, c=change_td: x + c}, read=(3,), logits=False
            )
            torch.testing.assert_close(x_nhd[n], whole.x_btd[3][0, START : START + HORIZON + 1], rtol=1e-4, atol=1e-5)


def test_a_text_can_be_used_again() -> None:
    """Running on leaves what was remembered as it was."""
    model = tiny_model("llama")
    text = remember(model, TOKENS_T, edited_layer=1, layer=2)
    settings = {"start": START, "horizon": HORIZON, "change_nd": torch.ones(2, 16)}
    with torch.no_grad():
        first, second = (run_on(model, text, **settings) for _ in range(2))
    assert torch.equal(first, second)
    assert text.cache.get_seq_length() == 11


def test_gradients_flow_to_the_change() -> None:
    """And reach the token after the edit through attention."""
    model = tiny_model("llama")
    change_nd = torch.zeros(1, 16, requires_grad=True)
    text = remember(model, TOKENS_T, edited_layer=2, layer=3)
    x_nhd = run_on(model, text, start=START, horizon=1, change_nd=change_nd)
    (gradient_nd,) = torch.autograd.grad(x_nhd[0, 1].sum(), change_nd)
    assert gradient_nd.abs().min() > 0
