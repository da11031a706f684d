"""Laws of runs with edits."""

import numpy as np
import pytest
import torch

from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.residual_stream import find_blocks, residual_stream
from tcr_jax.intervene.edited_run import edited_run
from tests.extract.tiny_models import LAYERS, tiny_model

ARCHITECTURES = ("llama", "gpt2", "gpt_neox")
TOKENS_BT = np.random.default_rng(0).integers(1, 300, (3, 11))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_without_edits_it_is_the_model(architecture: str) -> None:
    """Logits are the model's own, and what is read is the residual stream."""
    model = tiny_model(architecture)
    run = edited_run(model, TOKENS_BT, {}, read=(1, 2))
    assert torch.equal(run.logits_btv, model(input_ids=torch.tensor(TOKENS_BT)).logits)
    for layer in (1, 2):
        assert torch.equal(run.x_btd[layer], residual_stream(model, layer, TOKENS_BT))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_an_edit_reaches_later_tokens_only_behind_its_block(architecture: str) -> None:
    """At the edited block one token alone changes; one block on, later ones too, and never an earlier one."""
    model, position = tiny_model(architecture), 5
    change_t1 = torch.zeros(11, 1).index_fill(0, torch.tensor([position]), 1.0)
    edited = edited_run(model, TOKENS_BT, {1: lambda x_btd: x_btd + change_t1}, read=(1, 2, 3))
    for layer in (1, 2, 3):
        clean_btd = edited_run(model, TOKENS_BT, {}, read=(layer,)).x_btd[layer]
        moved_t = (edited.x_btd[layer] - clean_btd).abs().amax((0, 2))
        assert (moved_t[:position] == 0).all() and moved_t[position] > 0.5
        assert (moved_t[position + 1 :] > 0).all() == (layer > 1)


@pytest.mark.parametrize("architecture", (*ARCHITECTURES, "falcon"))
@torch.no_grad()
def test_idle_blocks_do_not_matter(architecture: str) -> None:
    """Where their output is brought in, what they would have done with another is nothing; blocks may return tuples."""
    model = tiny_model(architecture)
    clean = edited_run(model, TOKENS_BT, {}, read=(2,))
    blocks = find_blocks(model)
    for parameter in blocks[1].parameters():
        parameter.fill_(torch.nan)
    found = edited_run(model, TOKENS_BT, {2: lambda _: clean.x_btd[2]}, idle=2)
    assert torch.equal(found.logits_btv, clean.logits_btv)
    run = edited_run(model, TOKENS_BT, {}, read=(2,), logits=False)
    assert run.x_btd[2].isnan().all()  # afterwards it runs again


@torch.no_grad()
def test_the_run_ends_at_the_last_block_read_and_leaves_no_trace() -> None:
    """Later blocks do not run, and afterwards the model is as before."""
    model, ran = tiny_model("llama"), []
    for number, block in enumerate(find_blocks(model), start=1):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    before = model(input_ids=torch.tensor(TOKENS_BT)).logits
    ran.clear()
    assert edited_run(model, TOKENS_BT, {1: torch.zeros_like}, read=(2,), logits=False).logits_btv is None
    assert ran == [1, 2]
    edited_run(model, TOKENS_BT, {3: torch.zeros_like}, read=(3,), logits=False, idle=3)
    assert all("forward" not in vars(block) for block in find_blocks(model))
    assert torch.equal(model(input_ids=torch.tensor(TOKENS_BT)).logits, before)


def test_gradients_flow_through_an_edit() -> None:
    """The gradient of a later activation by the edit is the finite difference."""
    model = tiny_model("llama")
    step_d = torch.zeros(16, requires_grad=True)

    def later(step_d: torch.Tensor) -> torch.Tensor:
        return edited_run(model, TOKENS_BT, {1: lambda x: x + step_d}, read=(3,), logits=False).x_btd[3][0, 4, 7]

    (gradient_d,) = torch.autograd.grad(later(step_d), step_d)
    tiny_d = torch.zeros(16)
    tiny_d[3] = 1e-2
    with torch.no_grad():
        assert float(later(tiny_d) - later(-tiny_d)) / 2e-2 == pytest.approx(float(gradient_d[3]), rel=1e-2)


def test_bad_requests_are_named() -> None:
    """A block that does not exist, or a run that is asked for nothing."""
    model = tiny_model("llama")
    with pytest.raises(ExtractError, match=f"layer=4: LlamaForCausalLM has blocks 1 to {LAYERS}"):
        edited_run(model, TOKENS_BT, {4: torch.zeros_like})
    with pytest.raises(ExtractError, match="neither logits nor a block to read"):
        edited_run(model, TOKENS_BT, {}, logits=False)
