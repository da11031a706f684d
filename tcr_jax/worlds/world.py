"""A world: a process and a dictionary that are known, and the activations that they emit."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from tcr_jax.params import Params, Process, linear_dictionary
from tcr_jax.typing import DROPPED
from tcr_jax.worlds.config import WorldConfig
from tcr_jax.worlds.graphs import draw_graph
from tcr_jax.worlds.mixing import draw_mixing
from tcr_jax.worlds.simulation import Sample, Simulator, make_simulator, signal_variance, simulate
from tcr_jax.worlds.stability import stabilise

BATCH = 2**22  # numbers simulated for a batch, where its size is not given: 16 MiB an array, near the cache


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """The truth. x_t = A z_t + noise, z_t = sum_l B_l z_{t-l} + M z_t + eps_t; eps_t has standard deviations `scale_k`.

    B and M are sparse, [target, source], float64. Columns of A have unit norm.
    """

    config: WorldConfig
    b: tuple[sp.csr_array, ...]
    m: sp.csr_array
    mixing_dk: np.ndarray
    unmixing_kd: np.ndarray  # pseudo-inverse of A: of no use as an encoder where d < k
    scale_k: np.ndarray

    @functools.cached_property
    def params(self) -> Params:
        """The truth as parameters: `encode` inverts A where it can, and nothing is switched off. Dense."""
        dictionary = linear_dictionary(self.unmixing_kd, self.mixing_dk.T, jnp.zeros(self.config.channels))
        b_lkk = jnp.stack([jnp.asarray(b_kk.toarray(), jnp.float32) for b_kk in self.b])
        process = Process(b_lkk=b_lkk, m_kk=jnp.asarray(self.m.toarray(), jnp.float32), intercept_k=None)
        return Params(dictionary=dictionary, process=process)

    @functools.cached_property
    def simulator(self) -> Simulator:
        """The truth on the device, ready to simulate."""
        simulator = make_simulator(self.config, self.b, self.m, self.mixing_dk, self.scale_k)
        if self.config.observation_noise == 0:
            return simulator
        share = self.config.observation_noise
        variance = signal_variance(simulator, jax.random.key(self.config.seed))
        return simulator.replace(observation_noise=jnp.sqrt(variance * share / (1 - share)))

    def batches(
        self, sequences: int, batch: int | None = None, fold: int = 0, start: int = 0
    ) -> Callable[[], Iterator[tuple[jax.Array, jax.Array]]]:
        """A stream of documents as pairs (x_btd, document_bt), simulated anew each time it is called.

        A document depends on the world, `fold` and its number alone, so that every call yields the same data, however
        they are batched. All batches have one shape: the last is filled up with documents marked as dropped.

        Args:
          sequences: documents in all.
          batch: documents of a batch. Default: such that its arrays are of moderate size.
          fold: another one gives independent data of the same world, to evaluate on.
          start: number of the first document.

        Raises:
          ValueError: `sequences` or `batch` is less than 1.
        """
        size = min(self.batch_size if batch is None else batch, sequences)
        if size < 1:
            raise ValueError(f"sequences={sequences}, batch={batch}: a stream needs at least 1 of each")
        key = jax.random.fold_in(jax.random.key(self.config.seed), fold)

        def stream() -> Iterator[tuple[jax.Array, jax.Array]]:
            for first in range(start, start + sequences, size):
                number_b = first + jnp.arange(size)
                x_btd = _activations(self.simulator, key, number_b)
                document_b = jnp.where(number_b < start + sequences, number_b, DROPPED)
                yield x_btd, jnp.broadcast_to(document_b[:, None], x_btd.shape[:2])

        return stream

    @property
    def batch_size(self) -> int:
        """Documents of a batch whose arrays are of moderate size."""
        widest = max(self.config.latents, self.config.channels)
        return max(1, BATCH // (self.simulator.length * widest))


def make_world(config: WorldConfig) -> World:
    """Draws the truth from the seed, on the host: the same on every device.

    >>> world = make_world(WorldConfig(latents=8, parents=2.0, context=16))
    >>> x_btd, document_bt = next(world.batches(sequences=3)())
    >>> x_btd.shape, document_bt[:, 0].tolist()
    ((3, 16, 8), [0, 1, 2])
    """
    graph_rng, mixing_rng, scale_rng = (np.random.default_rng([config.seed, part]) for part in range(3))
    b, m = draw_graph(config, graph_rng)
    if config.graph != "paper":
        b = stabilise(b, m, config.radius)
    mixing_dk, unmixing_kd = draw_mixing(config, mixing_rng)
    scale_k = config.noise_scale * config.noise_spread ** scale_rng.uniform(-1, 1, config.latents)
    return World(config=config, b=tuple(b), m=m, mixing_dk=mixing_dk, unmixing_kd=unmixing_kd, scale_k=scale_k)


def sample(world: World, key: jax.Array, sequences: int) -> Sample:
    """Independent documents, numbered from 0, with the concepts and innovations behind them. See `Sample`.

    >>> world = make_world(WorldConfig(latents=8, parents=2.0, context=16))
    >>> sample(world, jax.random.key(0), sequences=3).z_btk.shape
    (3, 16, 8)
    """
    return _simulate(world.simulator, key, jnp.arange(sequences))


_simulate = jax.jit(simulate)
_activations = jax.jit(lambda *arguments: simulate(*arguments).x_btd)  # spares writing z and eps
