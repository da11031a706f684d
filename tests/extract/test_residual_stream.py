"""Laws of the residual stream that is read."""

import numpy as np
import pytest
import torch

from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.residual_stream import check_layer, find_blocks, residual_stream
from tests.extract.tiny_models import LAYERS, tiny_model

ARCHITECTURES = ("llama", "gpt2", "gpt_neox")
TOKENS_BT = np.random.default_rng(0).integers(1, 300, (3, 11))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_the_full_models_hidden_states(architecture: str) -> None:
    """Below the last layer it is hidden_states[layer] of the whole model, which has no norm applied there."""
    model = tiny_model(architecture)
    with torch.inference_mode():
        hidden = model(input_ids=torch.tensor(TOKENS_BT), output_hidden_states=True).hidden_states
    for layer in range(1, LAYERS):
        assert torch.equal(residual_stream(model, layer, TOKENS_BT), hidden[layer])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_last_layer_is_read_before_the_final_norm(architecture: str) -> None:
    """After the last block, the final norm of what is read gives the model's last hidden state, and changes it."""
    model = tiny_model(architecture)
    x_btd = residual_stream(model, LAYERS, TOKENS_BT)
    base = model.base_model
    norm = next(getattr(base, name) for name in ("norm", "ln_f", "final_layer_norm") if hasattr(base, name))
    with torch.inference_mode():
        last = model(input_ids=torch.tensor(TOKENS_BT), output_hidden_states=True).hidden_states[-1]
        torch.testing.assert_close(norm(x_btd), last)
        assert not torch.allclose(x_btd, last, atol=1e-2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_later_blocks_are_not_computed(architecture: str) -> None:
    """Blocks after the layer do not run, and the model is as before afterwards."""
    model, ran = tiny_model(architecture), []
    for number, block in enumerate(find_blocks(model), start=1):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    residual_stream(model, 2, TOKENS_BT)
    assert ran == [1, 2]
    model(input_ids=torch.tensor(TOKENS_BT))
    assert ran == [1, 2, 1, 2, 3]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_companions_and_padding_do_not_matter(architecture: str) -> None:
    """A row's activations are the same alone and beside others, whatever follows it on the right."""
    model = tiny_model(architecture)
    alone = residual_stream(model, 2, TOKENS_BT[:1, :6])
    beside = residual_stream(model, 2, TOKENS_BT)[:1, :6]
    torch.testing.assert_close(alone, beside, rtol=1e-5, atol=1e-5)


def test_layers_count_from_one() -> None:
    """A layer outside the model is an error with the range; 0 is the middle one."""
    model = tiny_model("llama")
    assert [check_layer(model, layer) for layer in (0, 1, 3)] == [2, 1, 3]
    for layer in (-1, 4):
        with pytest.raises(ExtractError, match=f"layer={layer}: LlamaForCausalLM has blocks 1 to 3"):
            check_layer(model, layer)
