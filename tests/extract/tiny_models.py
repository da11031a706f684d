"""Tiny language models, saved as users save theirs."""

from pathlib import Path

import tokenizers
import torch
import transformers

WORDS = "the court affirmed an appeal; a French painter at the caf\u00e9, caf\u00e9, caf\u00e9 of 12 May, in Paris.\n"
LAYERS = 3


def save_tokenizer(directory: Path) -> None:
    """A byte-level BPE of 300 tokens; token 0 is <s>."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False
    )
    bpe.train_from_iterator([WORDS], trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>").save_pretrained(directory)


def tiny_model(architecture: str, vocabulary: int = 300) -> transformers.PreTrainedModel:
    """A random causal language model of 3 blocks, width 16."""
    gpt2 = {"n_embd": 16, "n_layer": LAYERS, "n_head": 4}
    other = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    own = {"llama": other | {"num_key_value_heads": 2}, "gpt_neox": other, "gpt2": gpt2, "falcon": other}[architecture]
    config = transformers.AutoConfig.for_model(
        architecture, vocab_size=vocabulary, bos_token_id=0, eos_token_id=0, initializer_range=0.3, **own
    )
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()
