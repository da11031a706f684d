"""Laws of the loss recovered."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tcr_jax import Params
from tcr_jax.intervene.passages import Passage
from tcr_jax.intervene.splice import splice
from tests.intervene.conftest import LAYER


def test_a_dictionary_without_loss_recovers_all(
    model: PreTrainedModel, params: Params, passages: list[Passage]
) -> None:
    """The reconstruction of x is x: loss recovered is 1 with both ablations, which do hurt."""
    found = splice(model, params.dictionary, passages[:8], LAYER)
    assert found["ce_spliced"] == pytest.approx(found["ce_clean"], abs=1e-4)
    assert found["loss_recovered"] == pytest.approx(1, abs=1e-3)
    assert found["loss_recovered_zero"] == pytest.approx(1, abs=1e-3)
    assert found["ce_mean"] != pytest.approx(found["ce_clean"], abs=1e-2)


def test_a_dictionary_that_decodes_the_mean_recovers_nothing(
    model: PreTrainedModel, params: Params, passages: list[Passage]
) -> None:
    """With concepts that never fire the splice is the ablation to the mean: loss recovered is 0."""
    silent = params.dictionary.replace(encoder_bias_k=jnp.full_like(params.dictionary.encoder_bias_k, -1e6))
    found = splice(model, silent, passages[:8], LAYER)
    assert found["ce_spliced"] == pytest.approx(found["ce_mean"], abs=1e-5)
    assert found["loss_recovered"] == pytest.approx(0, abs=1e-4)


def test_clean_loss_is_the_models_own(model: PreTrainedModel, params: Params, passages: list[Passage]) -> None:
    """Cross-entropy of the next token, averaged over kept positions alone; batches and padding do not matter."""
    shorter = passages[3]._replace(token_t=passages[3].token_t[:7], kept_t=passages[3].kept_t[:7])
    chosen = [*passages[:3], shorter]
    losses = []
    for passage in chosen:
        with torch.no_grad():
            logits_tv = model(input_ids=torch.tensor(passage.token_t[None], dtype=torch.long)).logits[0]
        log_tv = torch.log_softmax(logits_tv, dim=-1).numpy()
        positions = np.flatnonzero(passage.kept_t[:-1])
        losses += [-log_tv[t, passage.token_t[t + 1]] for t in positions]
    for batch in (1, 3):
        found = splice(model, params.dictionary, chosen, LAYER, batch=batch)
        assert found["ce_clean"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert found["splice_tokens"] == len(losses)


def test_nothing_to_score_is_an_error(model: PreTrainedModel, params: Params, passages: list[Passage]) -> None:
    """Where no position was kept, the mend is named."""
    dropped = passages[0]._replace(kept_t=np.zeros_like(passages[0].kept_t))
    with pytest.raises(ValueError, match="give passages of held-out documents"):
        splice(model, params.dictionary, [dropped], LAYER)
