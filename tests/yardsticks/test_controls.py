"""Controls: what they keep of the data, and what they take away."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tcr_jax
from tcr_jax.closed_form import code_moments
from tcr_jax.store import Batch
from tcr_jax.yardsticks.controls import activations, co_occurring, distant, random_basis

RNG = np.random.default_rng(0)
DICTIONARY = tcr_jax.init_params(
    tcr_jax.Config(latents=8, topk=2), 4, jnp.ones(4), jnp.asarray(3.0), jax.random.key(0)
).dictionary


def test_activations_are_their_own_codes() -> None:
    """The codes of the ceiling are x - mean, and decode to x."""
    x_td = RNG.normal(size=(5, 4)).astype(np.float32)
    z_td = tcr_jax.encode(activations(DICTIONARY), x_td)
    np.testing.assert_allclose(z_td, x_td - 1, atol=1e-6)
    np.testing.assert_allclose(tcr_jax.decode(activations(DICTIONARY), z_td), x_td, atol=1e-6)


def test_random_basis_keeps_size_and_sparsity() -> None:
    """As many active latents, unit directions, none of the dictionary's own."""
    other = random_basis(DICTIONARY, jax.random.key(1), 2.0)
    z_tk = tcr_jax.encode(other, RNG.normal(size=(50, 4)))
    assert ((z_tk != 0).sum(axis=1) == 2).all()
    np.testing.assert_allclose(jnp.linalg.norm(other.decoder_kd, axis=1), 1, rtol=1e-5)
    assert float(jnp.abs(other.decoder_kd - DICTIONARY.decoder_kd).max()) > 0.1


@pytest.mark.parametrize("activation", ["relu", "batch_topk"])
def test_random_basis_of_an_activation_without_a_number(activation: str) -> None:
    """Where bias or threshold make a code sparse, as many random latents are active, not all that are positive."""
    sparse = DICTIONARY.replace(activation=activation, threshold=jnp.float32(3.0))
    z_tk = tcr_jax.encode(random_basis(sparse, jax.random.key(1), 1.3), RNG.normal(size=(50, 4)))
    assert ((z_tk != 0).sum(axis=1) <= 1).all() and (z_tk > 0).any(axis=1).mean() > 0.9


def test_distant_pairs() -> None:
    """Each kept token behind the one so far before it in its document; other pairs are dropped."""
    document_bt = np.array([[0, 0, 0, 0, 5, 5], [1, 1, -1, 1, 1, 1]])
    x_btd = np.arange(12.0).reshape(2, 6, 1)
    (pairs,) = distant([Batch(x_btd, x_btd[..., 0].astype(int), document_bt)], 2)
    found = {
        tuple(x) for x, document in zip(pairs.x_btd[..., 0], pairs.document_bt, strict=True) if (document >= 0).all()
    }
    assert found == {(0, 2), (1, 3), (7, 9), (9, 11)}
    assert pairs.x_btd.shape == (8, 2, 1) and (pairs.token_bt == pairs.x_btd[..., 0]).all()
    with pytest.raises(ValueError, match="distance=6: contexts have 6 tokens"):
        next(distant([Batch(x_btd, x_btd[..., 0], document_bt)], 6))
    with pytest.raises(ValueError, match="distance=5: no document has a token so far behind another; lower distance"):
        list(distant([Batch(x_btd[:1], x_btd[:1, :, 0], document_bt[:1])], 5))


def test_lift_finds_what_fires_together() -> None:
    """A source that always fires one or two tokens before its target comes first; below the support nothing does."""
    fires_tk = RNG.random((400, 6)) < 0.2
    fires_tk[1:, 2] = fires_tk[:-1, 4]
    fires_tk[2:, 0] = fires_tk[:-2, 5]
    moments = code_moments([(jnp.float32(fires_tk)[None], jnp.zeros((1, 400), int))], 2, 6)
    source_kp = np.asarray(co_occurring(moments, 3))
    assert source_kp[2, 0] == 6 + 4 and source_kp[0, 0] == 12 + 5
    assert (np.asarray(co_occurring(moments, 3, support=10_000)) == -1).all()
    assert co_occurring(moments, 100).shape == (6, 12)
