"""Controls of a prediction: what the same closed form gives where there is nothing to find, or everything at once."""

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from tcr_jax.closed_form import CodeMoments
from tcr_jax.closed_form.gram import lag_table
from tcr_jax.params import Dictionary, linear_dictionary
from tcr_jax.store import Batch
from tcr_jax.typing import DROPPED


def activations(dictionary: Dictionary) -> Dictionary:
    """z = x - mean: the process fitted on it is the dense vector autoregression, the linear ceiling of R^2 of x."""
    identity_dd = np.eye(dictionary.encoder_kd.shape[1], dtype=np.float32)
    return linear_dictionary(identity_dd, identity_dd, dictionary.mean_d)


def random_basis(dictionary: Dictionary, key: jax.Array, l0: float) -> Dictionary:
    """Random unit directions, as many of them active: what any code of this size and sparsity predicts.

    Args:
      dictionary: whose size, normalisation and activation are kept.
      key: of the directions.
      l0: latents of the dictionary that fire a token. Where its activation fixes no number (relu, batch_topk), random
        directions would pass a threshold more often or less: the largest `l0` positive ones are kept instead.
    """
    activation, topk = dictionary.activation, dictionary.topk
    if activation in ("relu", "batch_topk"):
        activation, topk = "relu_topk", max(round(l0), 1)
    direction_kd = jax.random.normal(key, dictionary.encoder_kd.shape)
    direction_kd /= jnp.linalg.norm(direction_kd, axis=-1, keepdims=True)
    bias_k, bias_d = dictionary.encoder_bias_k, dictionary.decoder_bias_d
    return dictionary.replace(
        encoder_kd=direction_kd,
        decoder_kd=direction_kd,
        encoder_bias_k=None if bias_k is None else jnp.zeros_like(bias_k),
        decoder_bias_d=None if bias_d is None else jnp.zeros_like(bias_d),
        activation=activation,
        topk=topk,
    )


def distant(batches: Iterable[Batch], distance: int) -> Iterator[Batch]:
    """Every token behind the one `distance` before it in its document, as a context of two: lag 1 there is that far.

    What a prediction from there reaches is topic and position, not sequence.

    Raises:
      ValueError: no document has so many tokens, as far as the batches go.
    """
    found = False
    for batch in batches:
        document_bt = np.asarray(batch.document_bt)
        tokens = document_bt.shape[1] - distance
        if tokens < 1:
            raise ValueError(f"distance={distance}: contexts have {document_bt.shape[1]} tokens; lower distance")
        pair = [(values[:, :tokens], values[:, distance:]) for values in batch]
        x_btd, token_bt, pair_bt = (np.stack(ends, axis=2).reshape(-1, 2, *ends[0].shape[2:]) for ends in pair)
        same_b = pair_bt[:, 0] == pair_bt[:, 1]
        found |= bool((same_b & (pair_bt[:, 0] >= 0)).any())
        yield Batch(x_btd, token_bt, np.where(same_b[:, None], pair_bt, DROPPED))
    if not found:
        raise ValueError(f"distance={distance}: no document has a token so far behind another; lower distance")


def co_occurring(fires: CodeMoments, parents: int, support: int = 10) -> jax.Array:
    """The `parents` delayed sources of each target of highest lift, P(both fire) / (P(target) P(source)): [k, p].

    Args:
      fires: moments of the indicators z != 0.
      parents: sources taken a target; all where there are fewer.
      support: joint firings below which a pair has no lift. A target with too few such pairs has fewer parents (-1).
    """
    k, lags = fires.latents, fires.lags
    joint_klk = lag_table(fires)[:, lags + 1 :]
    share_lk = fires.sum_lk / fires.tokens
    expected_klk = share_lk[0][:, None, None] * share_lk[1:]
    seen_klk = joint_klk * fires.tokens >= support
    lift_kf = jnp.where(seen_klk, joint_klk / jnp.maximum(expected_klk, 1e-12), 0).reshape(k, -1)
    lift_kp, place_kp = jax.lax.top_k(lift_kf, min(parents, lift_kf.shape[1]))
    return jnp.where(lift_kp > 0, place_kp + k, -1)
