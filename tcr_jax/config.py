"""One frozen configuration of a training run: every knob, typed, explained, and checked on creation."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from tcr_jax.knobs import ConfigError, check_knobs, knob

Activation = Literal["topk", "relu_topk", "batch_topk", "relu", "identity"]
Mode = Literal["both", "temporal", "instantaneous", "dictionary"]
Sparsity = Literal["standardised", "raw"]
Innovation = Literal["squared", "laplace"]
Acyclicity = Literal["logdet", "dagma", "notears", "triangular"]
Dtype = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Every knob of a training run. Raises `ConfigError` on creation where the values cannot work together.

    >>> Config(latents=4096, topk=64).lags
    3
    """

    # Dictionary
    latents: int = knob(768, "concepts in the dictionary (k)", at_least=1)
    activation: Activation = knob("topk", "which latents stay: topk keeps the largest |z| with their sign")
    topk: int = knob(32, "latents kept a token, for the topk activations", at_least=1)
    corrections: int = knob(0, "times the encoder corrects a code by what it leaves of x, for topk", at_least=0)
    bias: bool = knob(True, "encoder and decoder biases")
    # Process
    mode: Mode = knob("both", "effects learned: temporal (delayed), instantaneous (within the token), both, or neither")
    lags: int = knob(3, "tokens back that a delayed effect may reach (l)")
    intercept: bool = knob(True, "a constant in each concept's prediction")
    # Objective
    code_l1: float = knob(0.0, "weight of the L1 norm of the code, relative to reconstruction; for relu", at_least=0)
    innovation: Innovation = knob("squared", "loss of an innovation: eps^2 (squared) or |eps| (laplace)")
    innovation_weight: float = knob(0.3, "weight of the innovation term, relative to reconstruction", at_least=0)
    sparsity_weight: float = knob(1e-2, "weight of the L1 norm of B and M, taken as a proximal step", at_least=0)
    sparsity: Sparsity = knob("standardised", "unit of an edge in the L1 norm: both concepts' rms, or raw")
    acyclicity: Acyclicity = knob("dagma", "what keeps M acyclic: a penalty, or a strictly triangular mask")
    acyclicity_weight: float = knob(10.0, "weight of the acyclicity penalty", at_least=0)
    revival_weight: float = knob(1 / 32, "weight of the auxiliary loss that revives dead latents", at_least=0)
    dead_after: int = knob(100_000, "tokens without firing after which a latent counts as dead", at_least=1)
    # Optimiser
    learning_rate: float = knob(4e-3, "peak learning rate of Adam for the dictionary", over=0)
    process_learning_rate: float = knob(1e-2, "peak learning rate of Adam for B, M and the intercept", over=0)
    warmup: float = knob(0.05, "share of the steps in which the learning rate rises linearly", at_least=0)
    decay: float = knob(0.2, "share of the steps, the last, in which it falls to zero and M keeps to a DAG", at_least=0)
    weight_decay: float = knob(0.0, "decoupled weight decay of the dictionary", at_least=0)
    clip: float = knob(1.0, "global norm at which gradients are clipped; inf: none", over=0, under=None)
    # Run
    store: str = knob("", "directory of the activation store", may_change=True)
    start: str = knob("", "directory of a run whose parameters this one starts from; random ones where empty")
    steps: int = knob(1000, "optimiser steps", at_least=1)
    batch: int = knob(32, "contexts a step, over all processes", at_least=1)
    seed: int = knob(0, "seed of the initialisation and of the order of the data", at_least=0, under=2**32)
    dtype: Dtype = knob("float32", "precision of matrix products (float32: as the device does it), not of parameters")
    heldout: float = knob(0.1, "share of the documents never trained on, kept for the figures")
    model_shards: int = knob(1, "devices that share one copy of dictionary, B and M", at_least=1, may_change=True)
    log_every: int = knob(20, "steps between two lines of metrics.jsonl", at_least=1, may_change=True)
    checkpoint_every: int = knob(200, "steps between checkpoints with held-out figures", at_least=1, may_change=True)
    evaluate_batches: int = knob(8, "held-out batches an evaluation reads at most", at_least=1, may_change=True)
    keep: int = knob(3, "latest checkpoints kept, beside the best one", at_least=1, may_change=True)

    def __post_init__(self) -> None:
        check_knobs(self)
        if self.mode in ("both", "temporal") and self.lags < 1:
            raise ConfigError(f"lags={self.lags} must be at least 1; for a model without delays set mode=instantaneous")
        if self.activation.endswith("topk") and self.topk > self.latents:
            raise ConfigError(f"topk={self.topk} is more than latents={self.latents}; lower topk or add latents")
        if self.corrections and self.activation not in ("topk", "relu_topk"):
            raise ConfigError(
                f"corrections={self.corrections} are for activation=topk and relu_topk, not {self.activation}: set 0"
            )
        if self.warmup + self.decay > 1:
            raise ConfigError(f"warmup={self.warmup}, decay={self.decay}: shares of the steps, at most 1 together")
        if self.has_m and self.dag_step == 0:
            raise ConfigError(f"decay={self.decay} leaves no step of {self.steps} in which M could learn; lower decay")
        if self.mode == "dictionary" and self.innovation_weight:
            raise ConfigError(
                f"innovation_weight={self.innovation_weight} would only shrink the code: mode=dictionary predicts "
                "nothing; set innovation_weight=0"
            )
        if not 0 < self.heldout < 1:
            raise ConfigError(f"heldout={self.heldout}: figures need held-out documents; set a share between 0 and 1")
        if self.latents % self.model_shards:
            raise ConfigError(f"latents={self.latents} does not divide evenly over model_shards={self.model_shards}")

    @property
    def delays(self) -> int:
        """Lags that B really has: none where the mode has no delayed effects."""
        return self.lags if self.mode in ("both", "temporal") else 0

    @property
    def has_m(self) -> bool:
        """Whether effects within the token are learned."""
        return self.mode in ("both", "instantaneous")

    @property
    def dag_step(self) -> int:
        """The step from which M is a DAG: it is projected onto one, and gains no edge from there on."""
        return self.steps - round(self.decay * self.steps)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Config":
        """The configuration in a file. Raises `ConfigError` naming it where it is damaged."""
        try:
            return cls.from_json(path.read_bytes())
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> "Config":
        """Reads what `to_json` wrote. Raises `ConfigError` where it is damaged or has a field that does not exist."""
        try:
            values = dict(json.loads(text))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"not the JSON object of a configuration ({error}); restore the file") from error
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


SAE: dict[str, Any] = {"mode": "dictionary", "innovation_weight": 0.0}
"""A sparse autoencoder: the dictionary alone."""

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
    "sae_relu": SAE | {"activation": "relu", "code_l1": 6.0},
    "sae_topk": SAE | {"activation": "relu_topk"},
    "sae_batchtopk": SAE | {"activation": "batch_topk"},
}
"""Named starting points.

`default` works on real activations. `paper` holds the published defaults (Song et al. 2025, section 5: alpha 0.1,
beta 0.01), for comparison. The paper's terms are means over latents where ours are sums divided by the width d, hence
the factors d / k and d / k^2, with its d = 768 and k = 3072. TopK keeps the largest |z| of the encoder's output, and
decoder rows have unit norm, as everywhere here.

`sae_relu`, `sae_topk` (Gao et al. 2024, arXiv 2406.04093) and `sae_batchtopk` (Bussmann et al. 2024, arXiv 2412.06410)
are the usual sparse autoencoders, with the data, the optimiser and the revival of dead latents that all presets share.
"""
