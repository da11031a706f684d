"""What a machine can do, measured: the speed of large matrix products, elapsed time, and memory in use."""

import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def timed(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Seconds until `function(*args)` is computed, and what it returned."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return time.perf_counter() - start, result


def matmul_peak(mesh: Mesh, dtype: str, seconds: float = 0.05) -> float:
    """Operations a second of the fastest matrix product found, all devices of the mesh together.

    Every device multiplies [n, n] by [n, n] in `dtype`, accumulating in float32; n doubles from 1024 until a product
    takes `seconds`.
    """
    by_row, everywhere = NamedSharding(mesh, P(("data", "model"))), NamedSharding(mesh, P())
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32), out_shardings=by_row)
    normal = jax.jit(lambda rows, n: jax.random.normal(jax.random.key(0), (rows, n), dtype), static_argnums=(0, 1))
    best, fastest, n = 0.0, 0.0, 1024
    while fastest < seconds and n <= 16384:
        a, b = jax.device_put(normal(n * mesh.size, n), by_row), jax.device_put(normal(n, n), everywhere)
        jax.block_until_ready(multiply(a, b))  # compiles
        fastest = min(timed(multiply, a, b)[0] for _ in range(5))
        best = max(best, 2 * mesh.size * n**3 / fastest)
        n *= 2
    return best


def resident_peak() -> int:
    """Bytes: the most main memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def device_peak(mesh: Mesh) -> int | None:
    """Bytes: the most memory that one device of this process has held so far; None where devices do not tell (CPU)."""
    reports = [device.memory_stats() for device in mesh.local_devices]
    return max((report["peak_bytes_in_use"] for report in reports if report), default=None)


def memory_of_one() -> int:
    """Bytes of memory of the first device of this process, or of the machine where devices do not tell (CPU)."""
    report = jax.local_devices()[0].memory_stats()
    return report["bytes_limit"] if report else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
