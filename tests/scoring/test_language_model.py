"""Loading: a real pretrained folder, adapters, and every way in which a folder can be wrong."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model

from guided_refine.config import LLMOptions
from guided_refine.errors import InputError
from guided_refine.files import sha256_file, sha256_json
from guided_refine.scoring.attributes import load_attributes
from guided_refine.scoring.language_model import (
    ADAPTER_BASE,
    check_language_model,
    context_length,
    load_language_model,
)


@pytest.fixture(scope="module")
def stories(shared: Path) -> Path:
    return shared / "tokenizers" / "stories260K"


@pytest.fixture()
def copied(stories: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in stories.iterdir():
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture()
def adapter(stories: Path, tmp_path: Path) -> Path:
    base = load_language_model(str(stories), LLMOptions())
    torch.manual_seed(0)
    tuned = get_peft_model(base.model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    tuned.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_a_real_model_loads_and_still_tells_its_story(stories: Path) -> None:
    lm = load_language_model(str(stories), LLMOptions())
    assert (lm.name, lm.context, lm.model.training) == ("stories260K", 512, False)
    ids = lm.tokenizer("Once upon a time", return_tensors="pt").input_ids
    told = lm.tokenizer.decode(lm.model.generate(ids, max_new_tokens=12, do_sample=False)[0][1:])
    assert told.startswith("Once upon a time, there was a little girl named L")


def test_the_fingerprint_names_what_scores_depend_on(stories: Path, copied: Path, adapter: Path) -> None:
    plain = load_language_model(str(stories), LLMOptions(), name="builtin")
    assert plain.name == "builtin"
    assert load_language_model(str(copied), LLMOptions()).fingerprint == plain.fingerprint
    assert load_language_model(str(copied), LLMOptions(dtype="bfloat16")).fingerprint != plain.fingerprint
    tuned = load_language_model(str(stories), LLMOptions(), adapter=adapter)
    assert tuned.fingerprint != plain.fingerprint
    assert tuned.base_fingerprint == plain.fingerprint
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-6}))
    assert load_language_model(str(copied), LLMOptions()).fingerprint != plain.fingerprint


def test_an_adapter_changes_what_the_model_says(stories: Path, adapter: Path) -> None:
    plain = load_language_model(str(stories), LLMOptions())
    tuned = load_language_model(str(stories), LLMOptions(), adapter=adapter)
    ids = torch.tensor([[1, 5, 9]])
    with torch.no_grad():
        assert not torch.allclose(plain.model(ids).logits, tuned.model(ids).logits, atol=1e-3)


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no model.safetensors"),
        ("tokenizer.json", "no tokenizer.json"),
    ],
)
def test_an_incomplete_folder_names_the_file(copied: Path, lost: str, named: str) -> None:
    (copied / lost).unlink()
    with pytest.raises(InputError, match=named):
        load_language_model(str(copied), LLMOptions())


def test_pickled_weights_and_lost_shards_are_refused(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model.bin is a pickle and is not read"):
        load_language_model(str(copied), LLMOptions())
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="lacks model-00001-of-00002"):
        load_language_model(str(copied), LLMOptions())


def without(weights: dict[str, torch.Tensor], *names: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.endswith(names)}


def test_weights_that_a_folder_lacks_are_not_made_up(copied: Path) -> None:
    whole = load_file(copied / "model.safetensors")
    query, norm = "model.layers.2.self_attn.q_proj.weight", "model.layers.1.input_layernorm.weight"
    save_file(without(whole, query), copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=f"model {copied} lacks the weight {query} of a LlamaForCausalLM; copy its weights"
    ):
        load_language_model(str(copied), LLMOptions())
    save_file(without(whole, query, norm), copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=rf"lacks 2 weights \({norm}, \.\.\.\) of a LlamaForCausalLM"):
        load_language_model(str(copied), LLMOptions())
    small = {**whole, query: whole[query][:3].clone()}
    save_file(small, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=f"has the weight {query} in another shape than its config.json says; copy both"
    ):
        load_language_model(str(copied), LLMOptions())


@pytest.mark.parametrize("held", ["LlamaForSequenceClassification", "LlamaModel"])
def test_a_model_without_a_head_of_its_own_is_refused(stories: Path, tmp_path: Path, held: str) -> None:
    import transformers

    getattr(transformers, held)(tiny_model("llama", 512).config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(stories / name, tmp_path / name)
    sentence = (
        rf"lacks the weight lm_head\.weight of a LlamaForCausalLM; it holds a {held}, give a causal language"
    )
    with pytest.raises(InputError, match=sentence):
        load_language_model(str(tmp_path), LLMOptions())


def test_a_head_that_is_tied_to_the_embeddings_need_not_be_there(stories: Path, tmp_path: Path) -> None:
    model = tiny_model("llama", 512, tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(stories / name, tmp_path / name)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    loaded = load_language_model(str(tmp_path), LLMOptions()).model
    torch.testing.assert_close(loaded.lm_head.weight, model.lm_head.weight, rtol=0, atol=0)


def test_truncated_weights_are_an_input_error(copied: Path) -> None:
    whole = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_language_model(str(copied), LLMOptions())


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("no-such-owner/no-such-model", "give a local folder or set llm_options.allow_download=true"),
        ("bultin", "did you mean 'builtin'"),
        ("./not/here", "does not exist"),
        ("https://example.org/v1", "is an address"),
    ],
)
def test_a_model_that_is_not_here(spec: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=sentence):
        load_language_model(spec, LLMOptions())


def test_settings_that_change_what_an_adapter_says_change_its_fingerprint(
    stories: Path, adapter: Path
) -> None:
    def fingerprint(**changed: Any) -> str:
        (adapter / "adapter_config.json").write_text(json.dumps(written | changed))
        return load_language_model(str(stories), LLMOptions(), adapter=adapter).fingerprint

    written = json.loads((adapter / "adapter_config.json").read_text())
    plain = fingerprint()
    # As it was before there were others than these: adapters that are stored under their hash stay theirs.
    five = {key: written[key] for key in ("peft_type", "r", "lora_alpha", "use_rslora")}
    weights = sha256_file(adapter / "adapter_model.safetensors")
    ours = sha256_json([five | {"target_modules": ["q_proj", "v_proj"]}, weights])
    base = load_language_model(str(stories), LLMOptions()).fingerprint
    assert plain == sha256_json([base, ours])
    assert fingerprint(lora_dropout=0.3, inference_mode=False, peft_version="0.1") == plain
    told = {fingerprint(alpha_pattern={"q_proj": alpha}) for alpha in (1, 2, 64)}
    assert len(told | {plain}) == 4
    # A setting that an earlier PEFT did not write has its default.
    del written["alpha_pattern"], written["use_dora"]
    assert fingerprint() == plain


def test_adapters_of_other_models_are_refused(stories: Path, adapter: Path, tmp_path: Path) -> None:
    other = get_peft_model(tiny_model("llama", 512), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="adapter"):
        load_language_model(str(stories), LLMOptions(), adapter=tmp_path / "other")
    (adapter / ADAPTER_BASE).write_text(json.dumps({"fingerprint": "of another model"}))
    with pytest.raises(InputError, match="tuned on another model"):
        load_language_model(str(stories), LLMOptions(), adapter=adapter)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no adapter_model.safetensors"):
        load_language_model(str(stories), LLMOptions(), adapter=adapter)


def test_an_adapter_with_fewer_layers_is_refused(stories: Path, tmp_path: Path) -> None:
    base = load_language_model(str(stories), LLMOptions())
    settings = LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[0])
    get_peft_model(base.model, settings).save_pretrained(tmp_path / "part")
    written = json.loads((tmp_path / "part" / "adapter_config.json").read_text())
    written["layers_to_transform"] = None
    (tmp_path / "part" / "adapter_config.json").write_text(json.dumps(written))
    with pytest.raises(InputError, match="other layers"):
        load_language_model(str(stories), LLMOptions(), adapter=tmp_path / "part")


def test_a_tokenizer_larger_than_the_model_is_refused(copied: Path, shared: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(shared / "tokenizers" / "gpt2" / name, copied / name)
    with pytest.raises(InputError, match="do not belong together"):
        load_language_model(str(copied), LLMOptions())


def test_a_tokenizer_larger_than_the_model_is_refused_without_loading_it(copied: Path, shared: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(shared / "tokenizers" / "gpt2" / name, copied / name)
    with pytest.raises(InputError, match="its tokenizer knows 50257 tokens, the model only 512"):
        check_language_model(str(copied), LLMOptions(), load_attributes("movies"))


def test_a_tokenizer_that_leaves_most_of_the_model_unused_is_noticed(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_model("llama", 2000).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(shared / "tokenizers" / "stories260K" / name, tmp_path / name)
    with caplog.at_level(logging.WARNING):  # also where a test before has silenced all of it
        load_language_model(str(tmp_path), LLMOptions())
    assert "its tokenizer knows 512 tokens, the model 2000; is it the model's own?" in caplog.text


def test_an_adapter_is_no_model(adapter: Path) -> None:
    with pytest.raises(InputError, match="holds an adapter, not a model; give the folder of the model"):
        load_language_model(str(adapter), LLMOptions())


def test_gemma_2_gets_the_attention_it_was_made_with(shared: Path, tmp_path: Path) -> None:
    tiny_model("gemma2", 512).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(shared / "tokenizers" / "stories260K" / name, tmp_path / name)
    lm = load_language_model(str(tmp_path), LLMOptions())
    assert lm.model.config._attn_implementation == "eager"


def test_a_turn_that_changes_with_length_limits_the_context() -> None:
    rope = {
        "rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "rope_theta": 1e4,
    }  # fmt: skip
    sizes = {"max_position_embeddings": 1000, "original_max_position_embeddings": 400}
    assert context_length(tiny_model("phi3", 64, **sizes)) == 1000
    assert context_length(tiny_model("phi3", 64, **sizes, rope_parameters=rope)) == 400


def test_a_sliding_window_limits_the_context() -> None:
    assert context_length(tiny_model("mistral", 64, sliding_window=128)) == 128
    assert context_length(tiny_model("qwen3", 64)) == 512
    assert context_length(tiny_model("gpt2", 64)) == 512


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_cut_off_model_is_refused_without_loading_it(shared: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(shared / "tokenizers" / "stories260K", folder)
    check_language_model(str(folder), LLMOptions(), load_attributes("movies"))
    hurt = folder / name
    hurt.write_bytes(hurt.read_bytes()[: hurt.stat().st_size // 2])
    with pytest.raises(InputError, match=r"model"):
        check_language_model(str(folder), LLMOptions(), load_attributes("movies"))
