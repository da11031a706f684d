"""Settings that the libraries below read when they are imported, and a tiny model on disk."""

import os
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}

import pytest
import transformers

from tests.extract.tiny_models import save_tokenizer, tiny_model

transformers.logging.set_verbosity_error()


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny Llama with its tokenizer."""
    directory = tmp_path_factory.mktemp("llama")
    tiny_model("llama").save_pretrained(directory)
    save_tokenizer(directory)
    return directory
