"""The toy shop, a tiny random Llama with a real tokenizer, and a real pretrained one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_shop import CONTEXT, OPTIONS, make_attributes, make_shop

from guided_refine.config import TuneConfig
from guided_refine.data.dataset import Dataset
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel, load_language_model


@pytest.fixture(scope="session")
def attributes() -> AttributeSet:
    return make_attributes()


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return make_shop()


@pytest.fixture(scope="session")
def tiny_folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with the tokenizer of stories260K."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "stories260K")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path) -> LanguageModel:
    return load_language_model(str(tiny_folder), OPTIONS)


@pytest.fixture
def stories(shared: Path) -> LanguageModel:
    """A real pretrained Llama."""
    return load_language_model(str(shared / "tokenizers" / "stories260K"), OPTIONS)


@pytest.fixture(scope="session")
def tune_config() -> TuneConfig:
    return TuneConfig(
        steps=6, batch_size=6, negatives=8, save_every=2, learning_rate=5e-3, rank=4, alpha=8, dropout=0.1
    )
