"""Which way of keeping M acyclic finds the true M best, where the order of the concepts is not known.

    python -m experiments.acyclicity [--latents=32] [--latents=64] [--steps=500] [--spread=2] [--faint=0.25]

Synthetic processes with one lag and sparse B and M, Laplace innovations of unequal scale, and concepts numbered at
random. The concepts z are given: only B and M are learned, with the library's own innovations, penalties, edge prices
and proximal Adam, projected onto a DAG at the step where training does it. The penalty's weight is that of three which
finds M best on two seeds; the figures are means over three other seeds. As in the library, innovation and penalty are
divided by the width d, which here is the number of concepts. Prints a Markdown table.
"""

import dataclasses
import time
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from experiments import launch
from experiments.acyclicity_worlds import World, world
from tcr_jax.acyclicity import PENALTIES, allowed, log_det, project_to_dag
from tcr_jax.config import Config, Innovation
from tcr_jax.objective import edge_weight
from tcr_jax.optimizer import learning_rate, proximal_adam
from tcr_jax.params import Process
from tcr_jax.process import innovations

_LATENTS = flags.DEFINE_multi_integer("latents", [32, 64], "concepts of a process; may be given several times", 2)
_STEPS = flags.DEFINE_integer("steps", 500, "optimiser steps of a run", 1)
_SPREAD = flags.DEFINE_float("spread", 2.0, "scales of the innovations are log-uniform from 1/spread to spread", 1)
_FAINT = flags.DEFINE_float("faint", 0.0, "share of the concepts that hardly ever move: rms 0.001, no effects", 0, 1)

BATCH = 8
CHOOSING, REPORTED = (100, 101), (0, 1, 2)
WEIGHTS = {"logdet": (0.3, 1.0, 3.0), "dagma": (1.0, 10.0, 100.0), "notears": (1.0, 10.0, 100.0)}
SPARSITY = {"squared": 0.03, "laplace": 0.01}  # of 0.01, 0.03, 0.1: best on CHOOSING, order known
METHODS = (*WEIGHTS, "triangular", "triangular, true order")


class Fit(NamedTuple):
    """M as training left it at the projection, projected, and at the end."""

    before_kk: np.ndarray
    projected_kk: np.ndarray
    m_kk: np.ndarray
    finite: bool


class Outcome(NamedTuple):
    """What became of a fit."""

    precision: float
    recall: float
    f1: float
    removed: float  # share of sum |M| that the projection took away
    largest: float  # |M_ij| before the projection; the true ones are under 0.8
    log_det: float  # -log|det(I - M)| before the projection; 0 on a DAG
    finite: bool


def fit(config: Config, worlds: list[World], weights: list[float]) -> tuple[list[Fit], float]:
    """B and M of every world at its weight of the penalty, all at once; and milliseconds a step of one world."""
    k, triangular = config.latents, config.acyclicity == "triangular"
    tx = optax.chain(
        optax.clip_by_global_norm(config.clip), proximal_adam(learning_rate(config, config.process_learning_rate))
    )

    def loss(process: Any, z_btk: jax.Array, weight: jax.Array) -> jax.Array:
        same_document_t = jnp.zeros(z_btk.shape[1], int)
        eps_btk = jax.vmap(innovations, in_axes=(None, 0, None))(process, z_btk, same_document_t)[:, config.lags :]
        rho_btk = jnp.square(eps_btk) if config.innovation == "squared" else jnp.abs(eps_btk)
        penalty = 0.0 if triangular else PENALTIES[config.acyclicity](process.m_kk) / k
        return config.innovation_weight * rho_btk.sum(-1).mean() / k + weight * penalty

    def run(carry: Any, keys: jax.Array, z_ntk: jax.Array, weight: jax.Array, allowed_kk: jax.Array) -> Any:
        price_kk = config.sparsity_weight * edge_weight(jnp.sqrt(jnp.square(z_ntk).mean((0, 1))), k, k)

        def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            process, opt_state = carry
            z_btk = z_ntk[jax.random.randint(key, (BATCH,), 0, len(z_ntk))]
            value, grads = jax.value_and_grad(loss)(process, z_btk, weight)
            updates, opt_state = tx.update(grads, opt_state, process, price_kk=price_kk)
            process = optax.apply_updates(process, updates)
            return (process.replace(m_kk=jnp.where(allowed_kk, process.m_kk, 0)), opt_state), jnp.isfinite(value)

        carry, finite = jax.lax.scan(step, carry, keys)
        return carry, finite.all()

    start = Process(b_lkk=jnp.zeros((config.lags, k, k)), m_kk=jnp.zeros((k, k)), intercept_k=None)
    carry = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(worlds)), (start, tx.init(start)))
    z_wntk, weight_w = jnp.stack([world.z_ntk for world in worlds]), jnp.asarray(weights)
    allowed_wkk = jnp.stack([allowed(k, triangular)] * len(worlds))
    keys = jax.random.split(jax.random.key(config.seed), config.steps)
    run_all = jax.jit(jax.vmap(run, in_axes=(0, None, 0, 0, 0)))

    explore = run_all.lower(carry, keys[: config.dag_step], z_wntk, weight_w, allowed_wkk).compile()
    began = time.perf_counter()
    carry, finite_w = jax.block_until_ready(explore(carry, keys[: config.dag_step], z_wntk, weight_w, allowed_wkk))
    milliseconds = 1000 * (time.perf_counter() - began) / config.dag_step / len(worlds)

    before_wkk = np.asarray(carry[0].m_kk)
    rms_wk = np.sqrt(np.square(z_wntk).mean((1, 2)))
    projected_wkk = np.stack([project_to_dag(*pair) for pair in zip(np.nan_to_num(before_wkk), rms_wk, strict=True)])
    carry = carry[0].replace(m_kk=jnp.asarray(projected_wkk)), carry[1]
    carry, finite_later_w = run_all(carry, keys[config.dag_step :], z_wntk, weight_w, jnp.asarray(projected_wkk != 0))
    parts = (before_wkk, projected_wkk, np.asarray(carry[0].m_kk), np.asarray(finite_w & finite_later_w))
    return [Fit(*of_world) for of_world in zip(*parts, strict=True)], milliseconds


def judge(true_kk: np.ndarray, fitted: Fit) -> Outcome:
    """Edges of the fit against the true ones."""
    found_kk, there_kk = fitted.m_kk != 0, true_kk != 0
    right = (found_kk & there_kk).sum()
    precision, recall = right / max(found_kk.sum(), 1), right / there_kk.sum()
    size = np.abs(fitted.before_kk).sum()
    removed = 1 - np.abs(fitted.projected_kk).sum() / size if size else 0.0
    f1 = 2 * right / (found_kk.sum() + there_kk.sum())
    largest, log = np.abs(fitted.before_kk).max(), float(log_det(jnp.asarray(fitted.before_kk)))
    return Outcome(precision, recall, f1, removed, largest, log, fitted.finite)


def compare(config: Config, method: str) -> dict[str, Any]:
    """One row of the table: a method's outcome on the reported seeds, at the weight that was best on the others."""
    kind: Any = method.split(",")[0]
    weights = WEIGHTS.get(kind, (0.0,))
    seeds = (*CHOOSING, *REPORTED)
    shape: dict[str, Any] = {"spread": _SPREAD.value, "faint": _FAINT.value, "ordered": method != kind}
    worlds = [world(seed, config.latents, **shape) for seed in seeds]
    tried = [(weight, number) for weight in weights for number in range(len(seeds))]
    fits, milliseconds = fit(
        dataclasses.replace(config, acyclicity=kind), [worlds[number] for _, number in tried], [w for w, _ in tried]
    )
    outcomes: dict[float, list[Outcome]] = {weight: [] for weight in weights}
    for (weight, number), fitted in zip(tried, fits, strict=True):
        outcomes[weight].append(judge(worlds[number].m_kk, fitted))
    f1 = {weight: float(np.mean([outcome.f1 for outcome in of[: len(CHOOSING)]])) for weight, of in outcomes.items()}
    best = max(f1, key=lambda weight: f1[weight])
    reported = outcomes[best][len(CHOOSING) :]
    mean = {name: float(np.mean([getattr(o, name) for o in reported])) for name in Outcome._fields}
    lowest, highest = min(o.f1 for o in reported), max(o.f1 for o in reported)
    return {
        "k": config.latents,
        "loss": config.innovation,
        "method": method,
        "weight": f"{best:g}" if kind in WEIGHTS else "",
        "precision": f"{mean['precision']:.2f}",
        "recall": f"{mean['recall']:.2f}",
        "F1 (lowest to highest)": f"{mean['f1']:.2f} ({lowest:.2f} to {highest:.2f})",
        "removed": f"{mean['removed']:.1%}",
        "F1 by weight": ", ".join(f"{w:g}: {value:.2f}" for w, value in f1.items()) if kind in WEIGHTS else "",
        "largest M": f"{mean['largest']:.2f}",
        "-log det": f"{mean['log_det']:.2f}",
        "not finite": sum(not o.finite for of in outcomes.values() for o in of),
        "ms a step": f"{milliseconds:.2f}",
    }


def main() -> None:
    rows = 0
    for latents in _LATENTS.value:
        for innovation in get_args(Innovation):
            values = {"innovation": innovation, "sparsity_weight": SPARSITY[innovation], "steps": _STEPS.value}
            for method in METHODS:
                config = Config(latents=latents, topk=1, lags=1, **values)
                row = compare(config, method)
                if not rows:
                    print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
                print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)
                rows += 1


if __name__ == "__main__":
    launch.run(main)
