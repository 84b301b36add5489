"""A sentence encoder as teacher: its vectors, the formula of its labels, and folders that are none."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_catalog import OPTIONS, attributes, catalog, dataset
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from guided_refine.config_teacher import TeacherOptions
from guided_refine.errors import InputError
from guided_refine.files import read_json, write_json
from guided_refine.progress import Progress
from guided_refine.scoring.builtin import pretrain
from guided_refine.scoring.builtin.encoder import SentenceEncoder, towards_high

QUIET = Progress(quiet=True)


def words_of(texts: list[str]) -> dict[str, int]:
    poles = [word for a in attributes().attributes for word in f"{a.high} {a.low}".split()]
    every = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *sorted({w for text in texts for w in text.split()} | set(poles)),
    ]
    return {word: number for number, word in enumerate(every)}


def make_encoder(folder: Path) -> Path:
    """A BERT of one layer whose word vectors are the left singular vectors of how words share texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    texts, _ = catalog(n=60)
    known = words_of(texts)
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    ).save_pretrained(folder)
    held = np.zeros((len(texts), len(known)))
    for row, text in enumerate(texts):
        held[row, [known[word] for word in text.split()]] = 1
    left, strength, _ = np.linalg.svd(held.T - held.T.mean(axis=1, keepdims=True), full_matrices=False)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(known),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    model = BertModel(config).eval()
    with torch.no_grad():
        table = torch.from_numpy(left[:, :16] * strength[:16]).float()
        model.embeddings.word_embeddings.weight.copy_(table)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


@functools.cache
def loaded(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model as transformers loads them."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval()


def alone(folder: Path, text: str) -> np.ndarray:
    """One text by itself: the mean of the last states, at unit length."""
    tokenizer, model = loaded(folder)
    with torch.no_grad():
        state = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).last_hidden_state[
            0
        ]
    mean = state.mean(0).numpy()
    return mean / np.linalg.norm(mean)


def test_vectors_do_not_depend_on_the_batch(folder: Path) -> None:
    texts = ["jokes", "a tram and a piano and a lamp", "solemn cathedral"] * 15
    found = SentenceEncoder(folder).embed(texts)
    assert found.shape == (45, 16)
    for row in (0, 1, 44):
        np.testing.assert_allclose(found[row], alone(folder, texts[row]), atol=1e-5)


def test_labels_are_ranks_of_the_projection_on_high_less_low(folder: Path) -> None:
    data = dataset()
    data.items.loc[7, "text"] = ""
    labels = SentenceEncoder(folder).labels(data, attributes(), seed=0, progress=QUIET)
    read = [i for i, text in enumerate(data.texts) if text]
    for column, attribute in enumerate(attributes().attributes):
        direction = alone(folder, attribute.high) - alone(folder, attribute.low)
        along = np.array([alone(folder, data.texts[i]) @ direction for i in read])
        standard = (along - along.mean()) / along.std()
        ranks = np.argsort(np.argsort(standard))
        np.testing.assert_array_equal(np.argsort(np.argsort(labels.value[read, column])), ranks)
        np.testing.assert_allclose(
            labels.confidence[read, column], np.minimum(1, 0.4 + 0.3 * np.abs(standard)), atol=1e-4
        )
    assert (labels.confidence[7] == 0).all()


def test_what_the_encoder_knows_reaches_the_labels(folder: Path) -> None:
    from sklearn.metrics import roc_auc_score

    _, funny = catalog(n=60)
    value = SentenceEncoder(folder).labels(dataset(), attributes(), seed=0, progress=QUIET).value
    assert roc_auc_score(funny, value[:, 0]) > 0.8


def test_poles_that_are_one_point_say_nothing() -> None:
    texts = np.eye(3)
    assert (towards_high(texts, texts[:1], texts[:1]) == 0).all()
    assert (towards_high(texts[[0, 0]], texts[:1], texts[1:2]) == 0).all()


def test_a_model_taught_by_it_says_so_and_other_weights_are_another_teacher(
    folder: Path, tmp_path: Path
) -> None:
    options = OPTIONS.model_copy(
        update={"teacher": TeacherOptions(encoder=str(folder)), "pretrain_epochs": 1}
    )
    out = pretrain.train_builtin(dataset(), attributes(), options, tmp_path / "m", seed=0)
    assert f"sentence encoder `{folder.name}`" in (out / "README.md").read_text()
    recipe = read_json(out / "pretraining.json")["recipe"]
    assert recipe["teacher"] == "encoder"
    other = make_encoder(tmp_path / "other")
    assert SentenceEncoder(other).recipe["encoder"] == recipe["encoder"]
    model = BertModel.from_pretrained(other, local_files_only=True)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[5] += 1
    model.save_pretrained(other)
    assert SentenceEncoder(other).recipe["encoder"] != recipe["encoder"]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "no weights in safetensors"),
        ("tokenizer.json", "has no tokenizer"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused(tmp_path: Path, lost: str, said: str) -> None:
    make_encoder(tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(InputError, match=said):
        SentenceEncoder(tmp_path).check(attributes())


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    make_encoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="cannot be loaded"):
        SentenceEncoder(tmp_path).embed(["a"])


def test_weights_that_no_vector_needs_may_lack(folder: Path, tmp_path: Path) -> None:
    """The pooler of a masked model, the decoder of a bare encoder; any other weight would be a random one."""
    make_encoder(tmp_path / "bert")
    file = tmp_path / "bert" / "model.safetensors"
    whole = load_file(file)
    assert any(name.startswith("pooler.") for name in whole)
    save_file({name: t for name, t in whole.items() if not name.startswith("pooler.")}, file)
    vector = SentenceEncoder(tmp_path / "bert").embed(["solemn tram"])[0]
    np.testing.assert_array_equal(vector, SentenceEncoder(folder).embed(["solemn tram"])[0])
    lost = "encoder.layer.0.attention.self.query.weight"
    save_file({name: t for name, t in whole.items() if name != lost}, file)
    with pytest.raises(InputError, match=f"bert lacks the weight {lost} of a BertModel; copy its weights"):
        SentenceEncoder(tmp_path / "bert").embed(["a"])
    config = T5Config(vocab_size=200, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    for part in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "t5").mkdir(exist_ok=True)
        (tmp_path / "t5" / part).write_bytes((folder / part).read_bytes())
    T5EncoderModel(config).save_pretrained(tmp_path / "t5")
    settings = read_json(tmp_path / "t5" / "config.json")
    write_json(tmp_path / "t5" / "config.json", settings | {"is_encoder_decoder": True})
    assert np.isfinite(SentenceEncoder(tmp_path / "t5").embed(["a"])).all()
