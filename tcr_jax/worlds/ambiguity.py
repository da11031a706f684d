"""Is another graph as sparse as the true one?"""

from tcr_jax.ambiguity import Ambiguity
from tcr_jax.ambiguity import ambiguity as of_graph
from tcr_jax.worlds.world import World


def ambiguity(world: World) -> Ambiguity:
    """See `tcr_jax.ambiguity`.

    >>> from tcr_jax.worlds import WorldConfig, make_world
    >>> ambiguity(make_world(WorldConfig(latents=32, graph="a5", own_past=True))).moves
    ()
    """
    return of_graph(world.b, world.m)
