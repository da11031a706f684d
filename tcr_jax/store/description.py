"""What a store says about itself: where its activations come from, what it holds, and whether it is complete."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tcr_jax.store.files import FORMAT, StoreError

DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype("float16"), "float32": np.dtype("float32")}
"""Types that a store may hold activations in."""

DESCRIPTION = "store.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """What is known of a store before its first shard is written. Every shard carries it, and all must agree.

    Raises `StoreError` on creation where a value is impossible.
    """

    model: str  # name or path of the language model
    revision: str = ""  # version of it
    layer: int  # number of the block after which activations were read
    hook: str = ""  # where in the block, in words
    width: int  # d, channels of an activation
    context: int  # t, positions of a context
    dtype: str  # bfloat16, float16 or float32
    special_tokens: str = ""  # policy, in words
    kept_policy: str = ""  # which positions were dropped, in words
    text: str = ""  # where the text came from, best with a digest: a store is continued only with the same text

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise StoreError(f"dtype={self.dtype!r} cannot be stored; choose one of {', '.join(DTYPES)}")
        for name in ("width", "context"):
            if getattr(self, name) < 1:
                raise StoreError(f"{name}={getattr(self, name)} must be at least 1")

    @classmethod
    def from_json(cls, values: Mapping[str, Any], path: Path) -> "Source":
        """The `source` in the JSON object of `path`. Raises `StoreError` naming `path` where there is none."""
        try:
            return cls(**values["source"])
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{path}: `source` is damaged ({error}); restore the file") from error

    def differences(self, other: "Source") -> list[str]:
        """Fields in which `other` differs, as `name: ours -> theirs`."""
        return [
            f"{name}: {value!r} -> {getattr(other, name)!r}"
            for name, value in dataclasses.asdict(self).items()
            if value != getattr(other, name)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """Summary of one finished shard."""

    file: str
    records: int  # contexts
    kept: int  # tokens kept
    size: int  # bytes
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sidecar:
    """All that is said of one finished shard, in the file beside it."""

    shard: Shard
    source: Source
    largest_token: int
    rows: dict[str, np.ndarray]  # table, int64: how many tokens a `record` of the shard keeps (`kept`) of a `document`
    sum_d: np.ndarray  # over kept tokens, in float64
    square_d: np.ndarray  # sum of squares

    @classmethod
    def from_json(cls, values: Mapping[str, Any], path: Path) -> "Sidecar":
        """The JSON object in `path`. Raises `StoreError` naming `path` where it is no sidecar."""
        source = Source.from_json(values, path)
        try:
            shard = Shard(**values["shard"])
            rows = {name: np.array(values["rows"][name], np.int64) for name in ("record", "document", "kept")}
            sum_d, square_d = (np.array(values[name], np.float64) for name in ("sum_d", "square_d"))
            if {sum_d.shape, square_d.shape} != {(source.width,)} or len({len(column) for column in rows.values()}) > 1:
                raise ValueError("columns of unequal length")
            if ((rows["record"] < 0) | (rows["record"] >= shard.records)).any():
                raise ValueError(f"rows of records that are not among its {shard.records}")
            if (kept := int(rows["kept"].sum())) != shard.kept:
                raise ValueError(f"kept tokens in rows: {kept}, in all: {shard.kept}")
            largest = int(values["largest_token"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{path}: not what is said of a shard ({error}); restore the file") from error
        return cls(shard=shard, source=source, largest_token=largest, rows=rows, sum_d=sum_d, square_d=square_d)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Description:
    """A complete store. Statistics are over kept tokens, in float64."""

    source: Source
    shards: tuple[Shard, ...]
    tokens: int  # kept
    positions: int  # kept or not
    documents: int  # with a kept token
    mean_d: np.ndarray  # per channel
    std_d: np.ndarray  # per channel
    scale: float  # root mean square of x - mean over channels

    @property
    def digest(self) -> str:
        """A name for the contents of all shards, in order."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.shards).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return (
            f"{self.tokens:,} tokens kept of {self.positions:,} positions, {self.documents:,} documents, "
            f"{self.source.context} positions a context, {self.source.width} channels in {self.source.dtype}"
        )

    @classmethod
    def of(cls, source: Source, sidecars: Sequence[Sidecar]) -> "Description":
        """The complete store of these shards."""
        tokens = sum(sidecar.shard.kept for sidecar in sidecars)
        mean_d = sum((sidecar.sum_d for sidecar in sidecars), np.zeros(source.width)) / max(tokens, 1)
        square_d = sum((sidecar.square_d for sidecar in sidecars), np.zeros(source.width)) / max(tokens, 1)
        variance_d = np.maximum(square_d - mean_d**2, 0)
        return cls(
            source=source,
            shards=tuple(sidecar.shard for sidecar in sidecars),
            tokens=tokens,
            positions=sum(sidecar.shard.records for sidecar in sidecars) * source.context,
            documents=len(set().union(*(sidecar.rows["document"].tolist() for sidecar in sidecars))),
            mean_d=mean_d,
            std_d=np.sqrt(variance_d),
            scale=float(np.sqrt(variance_d.mean())),
        )

    def differences(self, other: "Description") -> list[str]:
        """The names of the figures in which `other` differs, by more than rounding."""
        names = ("tokens", "positions", "documents", "mean_d", "std_d", "scale")
        pairs = [(name, np.array(getattr(self, name)), np.array(getattr(other, name))) for name in names]
        return [name for name, a, b in pairs if a.shape != b.shape or not np.allclose(a, b, rtol=1e-9, atol=0)]

    def to_json(self) -> dict[str, Any]:
        values = dataclasses.asdict(self) | {"mean_d": self.mean_d.tolist(), "std_d": self.std_d.tolist()}
        return {"format": FORMAT, "complete": True, **values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], path: Path) -> "Description":
        """Reads what `to_json` wrote. Raises `StoreError` naming `path` and the field that is missing or unknown."""
        fields = {name: value for name, value in values.items() if name not in ("format", "complete")}
        try:
            fields["source"] = Source.from_json(values, path)
            fields["shards"] = tuple(Shard(**shard) for shard in fields["shards"])
            for name in ("mean_d", "std_d"):
                fields[name] = np.array(fields[name], np.float64)
            for name, kind in {"tokens": int, "positions": int, "documents": int, "scale": float}.items():
                fields[name] = kind(fields[name])
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{path}: not the description of a store ({error}); restore the file") from error
