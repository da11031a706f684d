"""Printable text of every token, so that a store can be read without its tokenizer."""

import re

from transformers import PreTrainedTokenizerBase

SENTENCEPIECE_SPACE = "\u2581"


def printable_pieces(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Text of every token id: real spaces and line breaks; bytes that are no UTF-8 on their own as <0xE2>."""
    tokens = map(str, tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    if "ByteLevel" not in str(tokenizer.backend_tokenizer.decoder):
        return [token.replace(SENTENCEPIECE_SPACE, " ") for token in tokens]
    alphabet = byte_alphabet()
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    return [token if token in added else _decode(token, alphabet) for token in tokens]


def byte_alphabet() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte -> the byte (GPT-2's convention).

    Printable bytes of Latin-1 stand for themselves; the others take the characters from 256 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def _decode(token: str, alphabet: dict[str, int]) -> str:
    if not alphabet.keys() >= set(token):
        return token
    text = bytes(alphabet[character] for character in token).decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda lone: f"<0x{ord(lone[0]) - 0xDC00:02X}>", text)
