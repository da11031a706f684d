"""One frozen configuration of a training run: every knob, typed, explained, and checked on creation."""

import dataclasses
import json
from typing import Any, Literal, get_args

Activation = Literal["topk", "relu_topk", "batch_topk", "relu", "identity"]
Mode = Literal["both", "temporal", "instantaneous"]
Sparsity = Literal["standardised", "raw"]
Innovation = Literal["squared", "laplace"]
Acyclicity = Literal["logdet", "dagma", "notears", "triangular"]
Dtype = Literal["float32", "bfloat16"]


class ConfigError(ValueError):
    """A configuration that cannot be run: the message names the field, its value and the mend."""


def knob(default: Any, help: str, *, may_change: bool = False) -> Any:
    """A field of `Config`: its default, its explanation with the unit, and whether a resumed run may change it."""
    return dataclasses.field(default=default, metadata={"help": help, "may_change": may_change})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Every knob of a training run. Raises `ConfigError` on creation where the values cannot work together.

    >>> Config(latents=4096, topk=64).lags
    3
    """

    # Dictionary
    latents: int = knob(768, "concepts in the dictionary (k)")
    activation: Activation = knob("topk", "which latents stay: topk keeps the largest |z| with their sign")
    topk: int = knob(32, "latents kept a token, for the topk activations")
    bias: bool = knob(True, "encoder and decoder biases")
    # Process
    mode: Mode = knob("both", "effects learned: delayed (temporal), within the token (instantaneous), or both")
    lags: int = knob(3, "tokens back that a delayed effect may reach (l)")
    intercept: bool = knob(True, "a constant in each concept's prediction")
    # Objective
    innovation: Innovation = knob("squared", "loss of an innovation: eps^2 (squared) or |eps| (laplace)")
    innovation_weight: float = knob(0.3, "weight of the innovation term, relative to reconstruction")
    sparsity_weight: float = knob(1e-2, "weight of the L1 norm of B and M, a proximal step of the optimiser")
    sparsity: Sparsity = knob("standardised", "unit of an edge in the L1 norm: both concepts' rms, or raw")
    acyclicity: Acyclicity = knob("dagma", "what keeps M acyclic: a penalty, or a strictly triangular mask")
    acyclicity_weight: float = knob(10.0, "weight of the acyclicity penalty")
    revival_weight: float = knob(1 / 32, "weight of the auxiliary loss that revives dead latents")
    dead_after: int = knob(100_000, "tokens without firing after which a latent counts as dead")
    # Optimiser
    learning_rate: float = knob(1e-3, "peak learning rate of Adam for the dictionary")
    process_learning_rate: float = knob(1e-3, "peak learning rate of Adam for B, M and the intercept")
    warmup: float = knob(0.05, "share of the steps in which the learning rate rises linearly")
    decay: float = knob(0.2, "share of the steps, the last, in which it falls to zero and M keeps to a DAG")
    weight_decay: float = knob(0.0, "decoupled weight decay of the dictionary")
    clip: float = knob(1.0, "global norm at which gradients are clipped")
    # Run
    store: str = knob("", "directory of the activation store", may_change=True)
    steps: int = knob(1000, "optimiser steps")
    batch: int = knob(32, "contexts a step, over all processes")
    seed: int = knob(0, "seed of the initialisation and of the order of the data")
    dtype: Dtype = knob("float32", "precision of the matrix products; parameters stay float32")
    heldout: float = knob(0.1, "share of the documents never trained on, kept for the figures")
    model_shards: int = knob(1, "devices that share one copy of dictionary, B and M", may_change=True)
    log_every: int = knob(20, "steps between two lines of metrics.jsonl", may_change=True)
    checkpoint_every: int = knob(200, "steps between two held-out evaluations, each with a checkpoint", may_change=True)
    evaluate_batches: int = knob(8, "held-out batches an evaluation reads at most", may_change=True)
    keep: int = knob(3, "latest checkpoints kept, beside the best one", may_change=True)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, choices = getattr(self, field.name), get_args(field.type)
            if choices and value not in choices:
                raise ConfigError(f"{field.name}={value!r} is unknown; choose one of {', '.join(choices)}")
        at_least_one = ("latents", "topk", "steps", "batch", "log_every", "checkpoint_every", "evaluate_batches")
        for name in (*at_least_one, "keep", "model_shards", "dead_after"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("innovation_weight", "sparsity_weight", "acyclicity_weight", "revival_weight", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)} must not be negative")
        for name in ("learning_rate", "process_learning_rate", "clip"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}={getattr(self, name)} must be positive")
        if self.mode != "instantaneous" and self.lags < 1:
            raise ConfigError(f"lags={self.lags} must be at least 1; for a model without delays set mode=instantaneous")
        if self.activation.endswith("topk") and self.topk > self.latents:
            raise ConfigError(f"topk={self.topk} is more than latents={self.latents}; lower topk or add latents")
        if self.warmup < 0 or self.decay < 0 or self.warmup + self.decay > 1:
            raise ConfigError(f"warmup={self.warmup}, decay={self.decay}: shares of the steps, at most 1 together")
        if not 0 < self.heldout < 1:
            raise ConfigError(f"heldout={self.heldout}: figures need held-out documents; set a share between 0 and 1")
        if self.latents % self.model_shards:
            raise ConfigError(f"latents={self.latents} does not divide evenly over model_shards={self.model_shards}")

    @property
    def delays(self) -> int:
        """Lags that B really has: none where the mode is instantaneous."""
        return 0 if self.mode == "instantaneous" else self.lags

    @property
    def dag_step(self) -> int:
        """The step from which M is a DAG: it is projected onto one, and gains no edge from there on."""
        return self.steps - round(self.decay * self.steps)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Reads what `to_json` wrote. Raises `ConfigError` naming a field that does not exist."""
        values = json.loads(text)
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ConfigError(f"no such field: {', '.join(sorted(unknown))}; known fields are in tcr_jax/config.py")
        return cls(**values)

    def differences(self, other: "Config") -> list[str]:
        """The fields in which a resumed run must not differ from `other` but does, as `name: other's -> ours`."""
        return [
            f"{field.name}: {getattr(other, field.name)!r} -> {getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if not field.metadata["may_change"] and getattr(self, field.name) != getattr(other, field.name)
        ]


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "latents": 3072,
        "topk": 100,
        "bias": False,
        "lags": 20,
        "intercept": False,
        "innovation": "laplace",
        "innovation_weight": 0.1 * 768 / 3072,
        "sparsity": "raw",
        "sparsity_weight": 0.01 * 768 / 3072**2,
        "acyclicity": "triangular",
        "revival_weight": 0.0,
        "learning_rate": 1e-2,
        "process_learning_rate": 1e-2,
        "warmup": 0.0,
        "decay": 0.0,
        "weight_decay": 1e-4,
        "clip": 1e9,
    },
}
"""Named starting points.

`default` works on real activations. `paper` holds the published defaults (Song et al. 2025, section 5: alpha 0.1,
beta 0.01), for comparison. The paper's terms are means over latents where ours are sums divided by the width d, hence
the factors d / k and d / k^2, with its d = 768 and k = 3072. TopK keeps the largest |z| of the encoder's output, and
decoder rows have unit norm, as everywhere here.
"""
