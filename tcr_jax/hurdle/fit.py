"""Learns the edges of a hurdle process: an L1 search for them on all targets at once, then a refit of the strongest.

Each phase is minibatch proximal Adam, a few matrix products a step. The price of an edge is scaled to its two ends,
so that one number is fair to rare and frequent concepts: at no edges at all, an effect leaves zero where the
correlation of its channel with its target passes `price`.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tcr_jax.hurdle.likelihood import PARTS, Part, nats, targets_of
from tcr_jax.hurdle.process import Codes, HurdleProcess, Link, features
from tcr_jax.knobs import ConfigError, check_knobs, knob
from tcr_jax.optimizer import proximal_adam
from tcr_jax.typing import Array

Past = Literal["none", "own", "all"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HurdleConfig:
    """How a hurdle process is fitted. Raises `ConfigError` where the values cannot work together."""

    past: Past = knob("all", "earlier codes that a concept may depend on: none, its own, or all")
    present: bool = knob(False, "whether it may depend on the same token's concepts, those before it in the order")
    price: float = knob(0.02, "L1 price of an effect, as the correlation at which it leaves zero", at_least=0)
    share: float = knob(
        1.0, "of B, and of M, that may be non-zero: of the edges found the weakest go before the refit", over=0
    )
    refit_price: float = knob(0.1, "share of the price that still holds in the refit of the edges found", at_least=0)
    steps: int = knob(200, "batches of the search for edges", at_least=1)
    refit_steps: int = knob(200, "batches of the refit", at_least=0)
    learning_rate: float = knob(
        0.02, "of Adam at the start of the search, half of it in the refit; falls to zero in each", over=0
    )

    def __post_init__(self) -> None:
        check_knobs(self)
        if self.share > 1:
            raise ConfigError(f"share={self.share} of the edges is more than there are: 1 keeps all that are found")
        if self.past == "none" and not self.present:
            raise ConfigError("past=none with present=False leaves nothing to fit: base_process is that model")


Effects = tuple[Any, Any]
"""Something for each entry of B [l, c, i, k] and of M [c, i, k]."""


def fit_hurdle(
    base: HurdleProcess,
    batches: Iterator[Codes],
    config: HurdleConfig,
    *,
    order: Array | np.ndarray | None = None,
    parts: Iterable[Part] = PARTS,
    observe: Callable[[Part, int], None] | None = None,
) -> HurdleProcess:
    """Minimises the mean negative log likelihood + price sum |effect|, then refits the strongest found.

    Args:
      base: `base_process` of the same training documents; or a fit, to go on from.
      batches: shuffled codes of training documents, all of one shape, without end.
      config: what may depend on what, and how it is searched.
      order: concepts from first to last, for M; by default the most frequent first.
      parts: links to fit; the others stay as they are.
      observe: called after each step with the part and the steps done.

    Raises:
      ValueError: `order` is no permutation of the concepts.
    """
    order = np.argsort(-base.rate_ck[:2].sum(axis=0)) if order is None else np.asarray(order)
    if not np.array_equal(np.sort(order), np.arange(len(base.unit_k))):
        raise ValueError(f"order of length {len(order)} is no permutation of the {len(base.unit_k)} concepts")
    process = base
    for part in parts:
        price_cik = config.price * _scale(base, part)
        allowed = _allowed(base, config, order)
        done = 0
        for steps, share in ((config.steps, 1.0), (config.refit_steps, config.refit_price)):
            rate = config.learning_rate * (1.0 if done == 0 else 0.5)
            start, step = _minimiser(part, allowed, share * price_cik, optax.linear_schedule(rate, 0, steps))
            state = start(process)
            for batch in itertools.islice(batches, steps):
                process, state = step(process, state, *batch)
                done += 1
                if observe is not None:
                    observe(part, done)
            link = getattr(process, part)
            b_lcik, m_cik = (_strongest(w, _scale(base, part), config.share) for w in (link.b_lcik, link.m_cik))
            allowed = (b_lcik, m_cik)
    return process.replace(spread_i=_spread(process, itertools.islice(batches, 20))) if "size" in parts else process


def _minimiser(part: Part, allowed: Effects, price_cik: jax.Array, rate: optax.Schedule) -> tuple[Any, Any]:
    """`start(process)`, the state of the moments, and `step(process, state, z_btk, document_bt)`, both after it."""
    edges, intercept = proximal_adam(rate), optax.adam(rate)

    def start(process: HurdleProcess) -> Any:
        link: Link = getattr(process, part)
        return edges.init((link.b_lcik, link.m_cik)), intercept.init(link.intercept_i)

    def loss(link: Link, process: HurdleProcess, z_btk: Array, document_bt: Array) -> jax.Array:
        feature_nf, scored_n = features(process, z_btk, document_bt, process.lags)
        cost_ni = nats(part, process, link.predict(feature_nf), targets_of(process, z_btk, process.lags))
        return jnp.where(scored_n[:, None], cost_ni, 0).sum() / jnp.maximum(scored_n.sum(), 1)

    @jax.jit
    def step(process: HurdleProcess, state: Any, z_btk: Array, document_bt: Array) -> tuple[HurdleProcess, Any]:
        link: Link = getattr(process, part)
        grads = jax.grad(loss)(link, process, z_btk, document_bt)
        effects = (link.b_lcik, link.m_cik)
        moved, of_edges = edges.update((grads.b_lcik, grads.m_cik), state[0], effects, price_kk=price_cik)
        shift_i, of_intercept = intercept.update(grads.intercept_i, state[1])
        b_lcik, m_cik = jax.tree.map(lambda w, move, may: jnp.where(may, w + move, 0), effects, moved, allowed)
        link = Link(b_lcik, m_cik, link.intercept_i + shift_i)
        return process.replace(**{part: link}), (of_edges, of_intercept)

    return start, step


def _allowed(base: HurdleProcess, config: HurdleConfig, order: np.ndarray) -> Effects:
    """Which entries of B and M the configuration and the order admit."""
    target_i, k = np.asarray(base.target_i), len(base.unit_k)
    own_ik = target_i[:, None] == np.arange(k)
    past_ik = {"none": np.zeros_like(own_ik), "own": own_ik, "all": np.ones_like(own_ik)}[config.past]
    place_k = np.argsort(order)
    before_ik = (place_k < place_k[target_i, None]) & config.present
    shape = base.fires.b_lcik.shape
    return np.broadcast_to(past_ik, shape), np.broadcast_to(before_ik, shape[1:])


def _strongest(effect: jax.Array, scale_cik: jax.Array, share: float) -> jax.Array:
    """Which effects, of B [l, c, i, k] or of M [c, i, k], are non-zero and on the strongest edges, `share` of all.

    An effect is worth |effect| std(u_c) std(residual) to the likelihood, an edge as much as its best channel.
    """
    if share == 1:
        return effect != 0
    worth = jnp.abs(effect * scale_cik).max(axis=-3, keepdims=True)
    kept = int(share * worth.size)
    least = jnp.sort(worth.ravel())[-kept] if kept else jnp.inf
    return (effect != 0) & (worth >= least)


def _scale(base: HurdleProcess, part: Part) -> jax.Array:
    """The gradient's standard deviation, were channel and target independent: std(u_c(z_k)) std(residual_i)."""
    square_ck = base.rate_ck if not base.sizes else base.rate_ck.at[2].set(base.rate_ck[:2].sum(axis=0))
    channel_ck = jnp.sqrt(jnp.maximum(square_ck - base.rate_ck**2, 0))
    fires_i = base.rate_ck[:2].sum(axis=0)[base.target_i]
    positive_i = base.rate_ck[0][base.target_i] / jnp.maximum(fires_i, 1e-12)
    residual_i = {
        "fires": jnp.sqrt(fires_i * (1 - fires_i)),
        "sign": jnp.sqrt(fires_i * positive_i * (1 - positive_i)),
        "size": jnp.sqrt(fires_i) / base.spread_i,
    }[part]
    return channel_ck[:, None] * residual_i[:, None]


def _spread(process: HurdleProcess, batches: Iterable[Codes]) -> jax.Array:
    """Root mean square of log |z / unit| about its prediction; a concept that does not fire keeps its old one."""
    square_i, fires_i = jnp.zeros(len(process.target_i)), jnp.zeros(len(process.target_i))
    for z_btk, document_bt in batches:
        more = _squares(process, z_btk, document_bt)
        square_i, fires_i = square_i + more[0], fires_i + more[1]
    return jnp.where(fires_i > 1, jnp.sqrt(square_i / jnp.maximum(fires_i, 1)), process.spread_i)


@jax.jit
def _squares(process: HurdleProcess, z_btk: Array, document_bt: Array) -> tuple[jax.Array, jax.Array]:
    feature_nf, scored_n = features(process, z_btk, document_bt, process.lags)
    z_ni = jnp.where(scored_n[:, None], targets_of(process, z_btk, process.lags), 0)
    log_ni = jnp.log(jnp.abs(jnp.where(z_ni != 0, z_ni, 1)) / process.unit_k[process.target_i])
    square_ni = jnp.where(z_ni != 0, (log_ni - process.size.predict(feature_nf)) ** 2, 0)
    return square_ni.sum(axis=0), (z_ni != 0).sum(axis=0)
