"""How fast the training step is, what share of the machine it uses, and how much memory.

    python -m experiments.benchmark --latents=3072 --lags=20 --width=768 --batch=8 [--parts] [--out=FILE] [...]

Times the whole jitted step of training (forward, backward, optimiser, statistics), apart from its compilation, on a
mesh of the devices that there are. Every field of `Config` is a flag; --steps are those that are timed. The activations
are random, correlated from token to token, and cut into documents.

The share of the peak is the operations of the step's matrix products in encoder, decoder, lags and M, counted by the
formulas of `step_parts.operations`, over the time of a step and over the speed of large matrix products of the same
dtype, measured in this process right before and right after the timed steps. The rest of a step (activation, acyclicity
penalty, revival, optimiser, statistics) takes its time and counts for nothing. XLA's own count is shown for comparison:
it is of one device, and holds the body of a loop, such as the one over the lags, only once.
"""

import dataclasses
import json
import os
import statistics
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import Mesh

from experiments import launch, processes, train_flags
from experiments.machine import device_peak, matmul_peak, resident_peak, timed
from experiments.step_parts import operations, time_parts
from tcr_jax.config import Config
from tcr_jax.files import write_text
from tcr_jax.mesh import batch_rows, make_mesh, to_global
from tcr_jax.train_step import make_init_state, make_train_step
from tcr_jax.typing import DROPPED

_WIDTH = flags.DEFINE_integer("width", 768, "channels of an activation (d)", 1)
_CONTEXT = flags.DEFINE_integer("context", 128, "positions of a context", 2)
_DEVICES = flags.DEFINE_integer("devices", None, "devices used (default: all)", 1)
_PARTS = flags.DEFINE_bool("parts", False, "also time the parts of a step, each on its own")
_OUT = flags.DEFINE_string("out", None, "JSON file for the figures")
flags.adopt_module_key_flags(train_flags)
flags.adopt_module_key_flags(processes)
flags.FLAGS.set_default("steps", 5)  # here: those that are timed


def activations(rng: np.random.Generator, batch: int, context: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x_btd, document_bt: channels of unequal scale, two documents a context, the first position of each dropped."""
    x_btd = rng.standard_normal((batch, context, width), np.float32)
    for t in range(1, context):
        x_btd[:, t] = 0.3 * x_btd[:, t - 1] + 0.95 * x_btd[:, t]
    half = context // 2
    document_bt = 2 * np.arange(batch, dtype=np.int32)[:, None] + (np.arange(context) >= half)
    document_bt[:, [0, half]] = DROPPED
    return x_btd * rng.lognormal(size=width).astype(np.float32), document_bt.astype(np.int32)


def measure(config: Config, width: int, context: int, mesh: Mesh, *, parts: bool) -> dict[str, Any]:
    """The figures of `config.steps` timed steps, by name: seconds, bytes, operations and operations a second."""
    index, count = batch_rows(mesh)
    rows = activations(np.random.default_rng(index), config.batch // count, context, width)
    state = make_init_state(config, width, mesh)(jnp.zeros(width), jnp.float32(rows[0].std()))
    batch = to_global(mesh, rows)
    step: Any = make_train_step(config, width, mesh)
    compile_seconds, step = timed(lambda: step.lower(state, *batch).compile())
    state, _ = jax.block_until_ready(step(state, *batch))
    memory, peaks = step.memory_analysis(), {"device_peak": device_peak(mesh), "resident_peak": resident_peak()}

    load_before, peak_before = os.getloadavg()[0], matmul_peak(mesh, config.dtype)
    seconds = []
    for _ in range(config.steps):
        elapsed, (state, _) = timed(step, state, *batch)
        seconds.append(elapsed)
    peak_after, load_after = matmul_peak(mesh, config.dtype), os.getloadavg()[0]

    tokens, median, peak = config.batch * context, statistics.median(seconds), max(peak_before, peak_after)
    counted = operations(config, width, tokens)
    speed = sum(counted.values()) / median
    by_part = time_parts(config, state, *batch, repeats=config.steps) if parts else {}
    return {
        "config": dataclasses.asdict(config),
        "width": width,
        "context": context,
        "machine": {
            "devices": mesh.size,
            "kind": mesh.devices.flat[0].device_kind,
            "cores": os.cpu_count(),
            "jax": jax.__version__,
            "load": [load_before, load_after],
        },
        "compile_seconds": compile_seconds,
        "step_seconds": seconds,
        "step_seconds_median": median,
        "tokens_per_second": tokens / median,
        "operations": counted,
        "operations_xla": step.cost_analysis()["flops"],
        "operations_per_second": speed,
        "matmul_peak": [peak_before, peak_after],
        "share_of_peak": speed / peak,
        "memory": {
            "step": (
                memory.argument_size_in_bytes
                + memory.temp_size_in_bytes
                + memory.output_size_in_bytes
                - memory.alias_size_in_bytes
            ),
            "arguments": memory.argument_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "outputs": memory.output_size_in_bytes,
            "aliased": memory.alias_size_in_bytes,
            **peaks,
        },
        "parts": {
            name: {
                "seconds": part,
                "share_of_step": part / median,
                "share_of_peak": counted[name] / part / peak if name in counted else None,
            }
            for name, part in by_part.items()
        },
    }


def table(result: dict[str, Any]) -> str:
    """The figures for a reader, one a line; GF is 1e9 operations, GB 1e9 bytes."""
    machine, memory = result["machine"], result["memory"]
    counted = sum(result["operations"].values())
    lines = {
        "machine": f"{machine['devices']} x {machine['kind']}, {machine['cores']} cores, jax {machine['jax']}, "
        f"load {machine['load'][0]:.1f} before, {machine['load'][1]:.1f} after",
        "compilation": f"{result['compile_seconds']:.1f} s",
        "step": f"{result['step_seconds_median']:.4g} s, median of {len(result['step_seconds'])}; "
        f"{min(result['step_seconds']):.4g} to {max(result['step_seconds']):.4g}",
        "tokens/s": f"{result['tokens_per_second']:,.0f}",
        "operations": f"{counted / 1e9:,.1f} GF a step; XLA counts {result['operations_xla'] / 1e9:,.1f} a device",
        "matmul peak": " before, ".join(f"{peak / 1e9:,.0f} GF/s" for peak in result["matmul_peak"]) + " after",
        "share of peak": f"{result['share_of_peak']:.1%} ({result['operations_per_second'] / 1e9:,.0f} GF/s)",
        "memory": f"{memory['step'] / 1e9:.2f} GB a device: arguments {memory['arguments'] / 1e9:.2f} + temporaries "
        f"{memory['temporaries'] / 1e9:.2f} + outputs {memory['outputs'] / 1e9:.2f} - aliased "
        f"{memory['aliased'] / 1e9:.2f}",
        "held": f"{memory['resident_peak'] / 1e9:.2f} GB of main memory"
        + (f", {memory['device_peak'] / 1e9:.2f} GB of a device" if memory["device_peak"] else ""),
    }
    text = "\n".join(f"{name:14} {value}" for name, value in lines.items())
    for name, part in result["parts"].items():
        of_peak = f"{part['share_of_peak']:7.1%} of peak" if part["share_of_peak"] else ""
        text += f"\n  {name:12} {part['seconds']:9.4f} s {part['share_of_step']:7.1%} of the step {of_peak}"
    return text


def main() -> None:
    processes.join()
    config = train_flags.read()
    mesh = make_mesh(config, jax.devices()[: _DEVICES.value])
    result = measure(config, _WIDTH.value, _CONTEXT.value, mesh, parts=_PARTS.value)
    processes.say(table(result))
    if _OUT.value and jax.process_index() == 0:
        write_text(Path(_OUT.value), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    launch.run(main)
