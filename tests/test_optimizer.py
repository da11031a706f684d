"""The optimiser: exact zeros at the right places, and constraints that hold after every update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tcr_jax import Config, Process, init_params, is_acyclic
from tcr_jax.acyclicity import project_to_dag
from tcr_jax.optimizer import learning_rate, make_optimizer, proximal_adam

RNG = np.random.default_rng(0)
K, D = 8, 5


def test_proximal_adam_solves_the_lasso() -> None:
    """min (p - a)^2 / 2 + c |p| is soft(a, c): reached exactly at zero, whatever the scale of the entry."""
    a = jnp.array([[2.0, -0.3], [0.5, -3.0]])
    price = jnp.array([[0.5, 0.5], [0.4999, 0.5]])
    scale = jnp.array([[1.0, 1e-6], [1e6, 1.0]])  # rescaling the loss of an entry must not matter
    optimizer = proximal_adam(optax.linear_schedule(0.1, 0.0, 2000))

    def descend(carry, _):
        p, state = carry
        updates, state = optimizer.update(scale * (p - a), state, p, price_kk=scale * price)
        return (optax.apply_updates(p, updates), state), None

    start = jnp.zeros((2, 2)), optimizer.init(jnp.zeros((2, 2)))
    (p, _), _ = jax.lax.scan(descend, start, length=2000)
    np.testing.assert_allclose(p, np.sign(a) * np.maximum(np.abs(a) - price, 0), atol=5e-3)
    assert float(p[0, 1]) == 0


def walk(config: Config, steps: int = 12):
    """Parameters after each of some random updates."""
    params = init_params(config, D, jnp.zeros(D), jnp.ones(()), jax.random.key(0))
    optimizer = make_optimizer(config)
    state = optimizer.init(params)
    for step in range(steps):
        if step == config.dag_step:
            m_kk = jnp.asarray(project_to_dag(params.process.m_kk))
            params = params.replace(process=params.process.replace(m_kk=m_kk))
        gradient = jax.tree.map(lambda p: jnp.float32(RNG.normal(size=p.shape)), params)
        updates, state = optimizer.update(gradient, state, params, price_kk=jnp.full((K, K), 1e-3))
        params = optax.apply_updates(params, updates)
        yield step, params


def test_constraints_hold_after_every_update() -> None:
    """Unit decoder rows, no self-loop in M, constants untouched."""
    for _, params in walk(Config(latents=K, topk=2, steps=12, warmup=0.0, learning_rate=0.1)):
        np.testing.assert_allclose(np.linalg.norm(params.dictionary.decoder_kd, axis=-1), 1, rtol=1e-6)
        assert not np.diag(params.process.m_kk).any()
        assert not params.dictionary.mean_d.any()
        assert float(params.dictionary.scale) == 1


def test_clipping_leaves_the_price_of_an_edge_as_it_is() -> None:
    """Adam does not see the length of its gradients: those clipped to a tenth give the same B and M, zeros and all."""

    def process(clip: float) -> Process:
        rng = np.random.default_rng(0)
        config = Config(latents=K, topk=2, steps=12, warmup=0.0, clip=clip)
        params = init_params(config, D, jnp.zeros(D), jnp.ones(()), jax.random.key(0))
        optimizer = make_optimizer(config)
        state = optimizer.init(params)
        for _ in range(6):
            gradient = jax.tree.map(lambda p: jnp.float32(rng.normal(size=p.shape)), params)
            gradient = optax.tree.scale(10 / optax.tree.norm(gradient), gradient)
            updates, state = optimizer.update(gradient, state, params, price_kk=jnp.full((K, K), 0.2))
            params = optax.apply_updates(params, updates)
        return params.process

    free, clipped = process(1e9), process(1.0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), free, clipped)
    assert 0.1 < (np.asarray(free.b_lkk) == 0).mean() < 0.9


def test_triangular_m_stays_below_the_diagonal() -> None:
    """With `acyclicity=triangular`, M is strictly lower triangular at every step, and is used."""
    for _, params in walk(Config(latents=K, topk=2, steps=12, acyclicity="triangular")):
        assert not np.triu(params.process.m_kk).any()
    assert np.asarray(params.process.m_kk).any()


def test_entries_that_a_triangular_m_may_not_have_go_at_once() -> None:
    """A run may start from one whose M was free."""
    config = Config(latents=K, topk=2, steps=12, acyclicity="triangular")
    params = init_params(config, D, jnp.zeros(D), jnp.ones(()), jax.random.key(0))
    params = params.replace(process=params.process.replace(m_kk=jnp.ones((K, K))))
    optimizer = make_optimizer(config)
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params, price_kk=jnp.zeros((K, K)))
    m_kk = np.asarray(optax.apply_updates(params, updates).process.m_kk)
    np.testing.assert_array_equal(m_kk != 0, np.tri(K, k=-1, dtype=bool))


def test_m_stays_a_dag_once_it_is_one() -> None:
    """From `dag_step` on no edge comes back, so that M is acyclic to the end, while its edges still move."""
    config = Config(latents=K, topk=2, steps=12, decay=0.5, warmup=0.0)
    states = [(step, np.asarray(params.process.m_kk)) for step, params in walk(config)]
    assert not is_acyclic(states[config.dag_step - 1][1])
    assert all(is_acyclic(m_kk) for step, m_kk in states if step >= config.dag_step)
    assert not np.array_equal(states[config.dag_step][1], states[config.dag_step + 1][1])


@pytest.mark.parametrize(("step", "share"), [(0, 1 / 11), (10, 1.0), (79, 1.0), (90, 0.5), (100, 0.0)])
def test_learning_rate_rises_stays_and_falls(step: int, share: float) -> None:
    """Linear warm-up over 10 %, plateau, linear decay over the last 20 %."""
    config = Config(steps=100, warmup=0.1, decay=0.2)
    np.testing.assert_allclose(learning_rate(config, 0.5)(step), 0.5 * share, atol=1e-6)


@pytest.mark.parametrize("mode", ["temporal", "instantaneous", "both", "dictionary"])
@pytest.mark.parametrize("bare", [True, False])
def test_every_mode_can_be_optimised(mode: str, bare: bool) -> None:
    """Parts that the mode or the configuration leaves out are left out, not an error."""
    config = Config(latents=K, topk=2, mode=mode, bias=not bare, intercept=not bare, innovation_weight=0.0)
    for _, params in walk(config, steps=2):
        assert (params.process.b_lkk is None) == (mode in ("instantaneous", "dictionary"))
        assert (params.process.m_kk is None) == (mode in ("temporal", "dictionary"))
