"""Laws of the printable pieces."""

from pathlib import Path

import tokenizers
import transformers

from tcr_jax.extract.language_model import load_tokenizer
from tcr_jax.extract.pieces import byte_alphabet, printable_pieces
from tests.extract.tiny_models import WORDS


def test_alphabet_is_the_tokenizers_own() -> None:
    """Every byte has one character, and they are those that byte-level BPE writes."""
    alphabet = byte_alphabet()
    assert sorted(alphabet.values()) == list(range(256))
    assert set(alphabet) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def test_pieces_of_a_text_joined_are_the_text(llama: Path) -> None:
    """Pieces give a text back with its spaces and line breaks, and lone bytes of a character as <0xE2>."""
    tokenizer = load_tokenizer(str(llama))
    pieces = printable_pieces(tokenizer)
    assert len(pieces) == len(tokenizer) and pieces[0] == "<s>"
    assert "".join(pieces[token] for token in tokenizer(WORDS)["input_ids"]) == WORDS
    assert "".join(pieces[token] for token in tokenizer("\u20ac ")["input_ids"]) == "<0xE2><0x82><0xAC> "


def test_pieces_of_sentencepiece() -> None:
    """SentencePiece's mark becomes the space that it stands for."""
    vocabulary = {"<unk>": 0, "\u2581the": 1, "<0xE2>": 2, "s": 3}
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    bpe.decoder = tokenizers.decoders.Metaspace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe)
    assert printable_pieces(tokenizer) == ["<unk>", " the", "<0xE2>", "s"]
