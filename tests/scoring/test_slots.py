"""Packed slots against a slow forward per attribute, and against themselves in other company."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tiny_models import make_attributes, naive_logits, ordinary_logits, tiny_model
from transformers import AutoTokenizer

from guided_refine.errors import InputError
from guided_refine.scoring.prompt import PromptPlan, build_prompt, tokenise_text
from guided_refine.scoring.slots import SlotReader, Way, soft_scores

FAMILIES = ["llama", "qwen3", "gpt2", "phi3", "mistral", "gpt_neox", "gemma2", "granite", "cohere"]
WORDS = [
    "A merry tale of two cats and a ghost.",
    "War",
    "Once upon a time there was a very sad old dog, alone.",
]


@pytest.fixture(scope="session")
def plan(shared: Path) -> PromptPlan:
    return build_prompt(
        AutoTokenizer.from_pretrained(shared / "tokenizers" / "stories260K"), make_attributes(), "item"
    )


@pytest.fixture(scope="session")
def texts(shared: Path) -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "stories260K")
    return [tokenise_text(tokenizer, text, 60)[0] for text in WORDS]


@pytest.fixture(scope="session")
def llama() -> Any:
    return tiny_model("llama", 512)


@pytest.mark.parametrize("way", ["chosen", "mask"])
@pytest.mark.parametrize("family", FAMILIES)
def test_equal_to_the_naive_oracle(family: str, way: str, plan: PromptPlan, texts: list[list[int]]) -> None:
    model = tiny_model(family, 512)
    with torch.no_grad():
        reader = SlotReader(model, plan)
        reader._way = "mask" if way == "mask" else None
        read = reader.digit_logits(texts, inside=True)
        for b, text in enumerate(texts):
            for a in range(len(plan.names)):
                every = naive_logits(model, plan, text, a)
                expected = every[plan.digits]
                torch.testing.assert_close(read.logits[b, a], expected, atol=1e-5, rtol=1e-5)
                mass = torch.log_softmax(every, -1)[plan.digits].logsumexp(-1)
                assert read.inside is not None
                torch.testing.assert_close(read.inside[b, a], mass, atol=1e-5, rtol=1e-5)
    assert read.logits.std() > 0.01
    # Gemma 2 caps its attention scores, which the blocks leave to the model's own attention.
    assert (reader._way == "blocks") == (way == "chosen" and family != "gemma2")
    assert reader.slower == (
        "Gemma2ForCausalLM: its attention cannot be replaced; exact, but slower"
        if way == "chosen" and family == "gemma2"
        else ""
    )


@pytest.mark.parametrize("way", ["blocks", "mask", "one by one"])
def test_histories_are_read_alike_in_blocks_and_by_mask(
    llama: Any, way: Way, plan: PromptPlan, texts: list[list[int]]
) -> None:
    reader = SlotReader(llama, plan)
    reader._way = way
    reads = [[0, 2, 9, 9], [1], [4, len(texts[2])]]
    rows = [(text, p) for text, row in zip(texts, reads, strict=True) for p in row]
    with torch.no_grad():
        read = reader.digit_logits(texts, reads).logits
        for row, (text, p) in enumerate(rows):
            for a in (0, 3):
                naive = ordinary_logits if way == "one by one" else naive_logits
                expected = naive(llama, plan, text[:p], a)[plan.digits]
                torch.testing.assert_close(read[row, a], expected, atol=1e-5, rtol=1e-5)


LOCAL = hf.GPTNeoConfig(
    vocab_size=512, hidden_size=16, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=2,
    max_position_embeddings=1024, window_size=64,
)  # fmt: skip
RECURRENT = hf.MambaConfig(vocab_size=512, hidden_size=16, num_hidden_layers=2)
BIASED = hf.BloomConfig(vocab_size=512, hidden_size=16, n_layer=2, n_head=2)


HYBRID = hf.Lfm2Config(
    vocab_size=512, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, full_attn_idxs=[1],
)  # fmt: skip
#: Between the last state and the logits: a layer and a norm; a factor of its own.
LAYERED = hf.BertConfig(
    vocab_size=512, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, is_decoder=True,
    max_position_embeddings=1024,
)  # fmt: skip
SCALED = hf.FalconH1Config(
    vocab_size=512, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8, lm_head_multiplier=0.3,
)  # fmt: skip
#: Takes the last places of a row for the real ones, so padding behind a prompt hides its beginning.
LEFT_PADDED = hf.CpmAntConfig(
    vocab_size=512, hidden_size=32, num_attention_heads=4, dim_head=8, dim_ff=48, num_hidden_layers=2,
)  # fmt: skip
OTHERS = {
    "recurrent": RECURRENT,
    "padded in front": LEFT_PADDED,
    "biased": BIASED,
    "local": LOCAL,
    "hybrid": HYBRID,
    "layered head": LAYERED,
    "scaled head": SCALED,
}


@pytest.mark.parametrize("config", OTHERS.values(), ids=OTHERS)
def test_models_that_follow_no_mask_read_one_ordinary_prompt_per_attribute(
    config: Any, plan: PromptPlan, texts: list[list[int]]
) -> None:
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(config).eval()
    reader = SlotReader(model, plan)
    reads = [[0, 2, 9], [1], [len(texts[2]), 4]]
    rows = [(text, p) for text, row in zip(texts, reads, strict=True) for p in row]
    read = reader.digit_logits(texts, reads, inside=True)
    assert "each attribute has a prompt of its own; exact, but slower" in reader.slower
    for row, (text, p) in enumerate(rows):
        for a in range(4):
            every = ordinary_logits(model, plan, text[:p], a)
            torch.testing.assert_close(read.logits[row, a], every[plan.digits], atol=1e-5, rtol=1e-5)
            mass = torch.log_softmax(every, -1)[plan.digits].logsumexp(-1)
            torch.testing.assert_close(read.inside[row, a], mass, atol=1e-5, rtol=1e-5)
    assert read.logits.std() > 1e-3
    with torch.no_grad():
        scored = SlotReader(model, plan).digit_logits(texts, reads).logits
    torch.testing.assert_close(scored, read.logits, atol=1e-5, rtol=1e-5)
    for some in ([2, 0], [3]):
        alone = SlotReader(model, plan.select(some)).digit_logits([texts[2][:4]]).logits
        torch.testing.assert_close(alone[0], read.logits[-1, some], atol=1e-5, rtol=1e-5)
    soft_scores(read.logits)[0].sum().backward()
    assert all(weight.grad is not None for weight in model.get_input_embeddings().parameters())


def test_a_decoder_that_its_model_never_calls_is_not_taken_for_one(
    plan: PromptPlan, texts: list[list[int]]
) -> None:
    """OPT calls the decoder inside of its `base_model`; ordinary prompts without definitions are its oracle."""
    torch.manual_seed(0)
    model = hf.OPTForCausalLM(
        hf.OPTConfig(
            vocab_size=512, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
            word_embed_proj_dim=32, max_position_embeddings=1024,
        )
    ).eval()  # fmt: skip
    none = replace(plan, definitions=[[] for _ in plan.definitions])
    kept_free = none.opening_start - len(none.head)
    with torch.no_grad():
        reader = SlotReader(model, none)
        read = reader.digit_logits(texts).logits
        assert reader._way == "blocks"
        for b, text in enumerate(texts):
            ids = [*none.head, *none.opening, *text, *none.slots[1]]
            places = [*range(len(none.head)), *range(len(none.head) + kept_free, len(ids) + kept_free)]
            every = model(input_ids=torch.tensor([ids]), position_ids=torch.tensor([places])).logits[0, -1]
            torch.testing.assert_close(read[b, 1], every[none.digits], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_long_texts_are_read_alike_in_blocks_and_by_mask(plan: PromptPlan, dtype: torch.dtype) -> None:
    """Fused attention works through keys by the hundreds, so its seams lie in long texts only."""
    model = tiny_model("qwen3", 512, max_position_embeddings=4096).to(dtype)
    rng = np.random.default_rng(1)
    texts = [rng.integers(3, 500, n).tolist() for n in (1500, 700, 3, 0)]
    reads = [[0, 511, 512, 513, 1024, 1500], [0, 600], [0, 3], [0]]
    by_way = {}
    for way in ("blocks", "mask"):
        reader = SlotReader(model, plan)
        with torch.no_grad():
            reader.digit_logits([texts[2]])
            assert reader._way == "blocks"
            reader._way = way
            by_way[way] = reader.digit_logits(texts, reads).logits
    if dtype == torch.float32:
        torch.testing.assert_close(by_way["blocks"], by_way["mask"], atol=1e-5, rtol=1e-5)
    else:
        blocks, mask = (soft_scores(read)[0] for read in by_way.values())
        torch.testing.assert_close(blocks, mask, atol=5e-3, rtol=0)


def test_nothing_asked_is_nothing_answered(llama: Any, plan: PromptPlan) -> None:
    read = SlotReader(llama, plan).digit_logits([[5, 6]], [[]], inside=True)
    assert read.logits.shape == (0, len(plan.names), 9)
    assert read.inside is not None and read.inside.shape == (0, len(plan.names))


def test_a_prompt_longer_than_a_model_without_masks_has_is_an_input_error(
    llama: Any, plan: PromptPlan
) -> None:
    reader = SlotReader(llama, plan)
    reader._way = "one by one"
    with pytest.raises(InputError, match=r"more than the model's context of 512; lower"):
        reader.digit_logits([[7] * 500])


def test_a_prompt_that_fills_a_model_without_masks_is_read(plan: PromptPlan) -> None:
    """Trying what padding does must not ask for positions that the model does not have."""
    longest = max(len(plan.definitions[a]) + len(plan.slots[a]) for a in range(4))
    text = [7] * (1024 - len(plan.head) - len(plan.opening) - longest)
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(LOCAL).eval()
    for shorter in (0, 3):
        with torch.no_grad():
            read = SlotReader(model, plan).digit_logits([text[shorter:]]).logits[0, 0]
        expected = ordinary_logits(model, plan, text[shorter:], 0)[plan.digits]
        torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-5)


def test_dropout_of_a_model_without_masks_hangs_on_its_seed_alone(
    plan: PromptPlan, texts: list[list[int]]
) -> None:
    """Whatever was read before: a piece of a step is read twice, and a killed tuning goes on."""
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(BIASED).eval()
    tuned = get_peft_model(model, LoraConfig(r=2, lora_dropout=0.3, target_modules=["query_key_value"]))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    tuned.train()
    reader = SlotReader(tuned, plan)
    reader.digit_logits([[7]])
    read = []
    for _ in range(3):
        torch.manual_seed(1)
        with torch.no_grad():
            read.append(reader.digit_logits([texts[0] * 40]).logits)
    assert torch.equal(read[0], read[1]) and torch.equal(read[1], read[2])
    torch.manual_seed(2)
    assert not torch.allclose(reader.digit_logits([texts[0] * 40]).logits, read[0], atol=1e-4)


def test_adapters_are_read_and_trained_through(plan: PromptPlan, texts: list[list[int]]) -> None:
    plain = SlotReader(tiny_model("llama", 512), plan).digit_logits(texts).logits
    tuned = get_peft_model(tiny_model("llama", 512), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    reader = SlotReader(tuned, plan)
    logits = reader.digit_logits(texts).logits
    torch.testing.assert_close(logits, plain, atol=1e-5, rtol=1e-5)
    soft_scores(logits)[0].sum().backward()
    moved = [p for n, p in tuned.named_parameters() if "lora_B" in n and p.grad.abs().sum() > 0]
    assert len(moved) == 6
    with torch.no_grad():
        for weight in moved:
            weight.add_(0.1)
        assert not torch.allclose(reader.digit_logits(texts).logits, plain, atol=1e-3)
        with tuned.disable_adapter():
            reader.clear()
            torch.testing.assert_close(reader.digit_logits(texts).logits, plain, atol=1e-5, rtol=1e-5)


def test_the_models_own_attention_is_as_before(llama: Any, plan: PromptPlan, texts: list[list[int]]) -> None:
    ids = torch.tensor([texts[0]])
    with torch.no_grad():
        before = llama(ids).logits
        SlotReader(llama, plan).digit_logits(texts)
        assert torch.equal(llama(ids).logits, before)
    assert llama.config._attn_implementation == "sdpa"
    llama.train()
    llama.gradient_checkpointing_enable()
    with pytest.raises(ValueError, match="gradient checkpointing"):
        SlotReader(llama, plan).digit_logits(texts)
    llama.gradient_checkpointing_disable()
    llama.eval()


@settings(max_examples=12, deadline=None)
@given(order=st.permutations(range(4)), keep=st.integers(1, 4), rows=st.permutations(range(3)))
def test_scores_do_not_depend_on_company(
    llama: Any, plan: PromptPlan, texts: list[list[int]], order: list[int], keep: int, rows: list[int]
) -> None:
    chosen = order[:keep]
    with torch.no_grad():
        everything = SlotReader(llama, plan).digit_logits(texts).logits
        some = SlotReader(llama, plan.select(chosen)).digit_logits([texts[r] for r in rows[: keep % 3 + 1]])
    expected = everything[rows[: keep % 3 + 1]][:, chosen]
    torch.testing.assert_close(some.logits, expected, atol=1e-5, rtol=1e-5)


def test_a_changed_definition_moves_its_own_scores_only(
    llama: Any, shared: Path, plan: PromptPlan, texts: list[list[int]]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "stories260K")
    attributes = make_attributes()
    changed = attributes.attributes[1].model_copy(update={"definition": "How many pages it has, roughly."})
    other = attributes.model_copy(
        update={"attributes": (attributes.attributes[0], changed, *attributes.attributes[2:])}
    )
    with torch.no_grad():
        before = SlotReader(llama, plan).digit_logits(texts).logits
        after = SlotReader(llama, build_prompt(tokenizer, other, "item")).digit_logits(texts).logits
    moved = (before - after).abs().amax(dim=(0, 2))
    assert moved[1] > 1e-3
    assert moved[[0, 2, 3]].max() < 1e-5


def test_slots_along_a_history_equal_scoring_each_prefix_alone(
    llama: Any, plan: PromptPlan, texts: list[list[int]]
) -> None:
    reads = [[3, 7, len(texts[0])], [1], [0, 5]]
    with torch.no_grad():
        reader = SlotReader(llama, plan)
        together = reader.digit_logits(texts, reads).logits
        alone = [
            reader.digit_logits([text[:p]]).logits[0]
            for text, row in zip(texts, reads, strict=True)
            for p in row
        ]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-5)


def test_later_tokens_never_reach_an_earlier_read(
    llama: Any, plan: PromptPlan, texts: list[list[int]]
) -> None:
    changed = [texts[0][:5] + [(token + 7) % 500 + 3 for token in texts[0][5:]]]
    with torch.no_grad():
        reader = SlotReader(llama, plan)
        a = reader.digit_logits([texts[0]], [[5, 8]]).logits
        b = reader.digit_logits(changed, [[5, 8]]).logits
    assert torch.equal(a[0], b[0])
    assert not torch.allclose(a[1], b[1], atol=1e-4)


def test_gradients_reach_prefix_text_and_slots(plan: PromptPlan, texts: list[list[int]]) -> None:
    model = tiny_model("llama", 512, tie_word_embeddings=False)
    logits = SlotReader(model, plan).digit_logits(texts).logits
    value, _ = soft_scores(logits)
    value[0, 0].backward()
    gradient = model.get_input_embeddings().weight.grad.abs().sum(-1)
    only_in = {
        "definition": set(plan.definitions[0]) - set(plan.slots[0]) - set(texts[0]) - set(plan.head),
        "text": set(texts[0]) - set(plan.slots[0]) - set(plan.definitions[0]) - set(plan.head),
        "head": set(plan.head) - set(plan.slots[0]) - set(plan.definitions[0]) - set(texts[0]),
    }
    for part, tokens in only_in.items():
        assert tokens and (gradient[sorted(tokens)] > 0).all(), part
    of_others = set(plan.definitions[2]) - set(plan.definitions[0]) - set(plan.slots[0]) - set(texts[0])
    of_others -= set(plan.head) | set(plan.opening)
    assert of_others and (gradient[sorted(of_others)] == 0).all()


def test_gradients_equal_those_of_the_oracle(plan: PromptPlan, texts: list[list[int]]) -> None:
    model = tiny_model("qwen3", 512)
    SlotReader(model, plan).digit_logits(texts[:1]).logits[0, 1].sum().backward()
    packed = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    naive_logits(model, plan, texts[0], 1)[plan.digits].sum().backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(packed[name], weight.grad, atol=1e-3, rtol=1e-3, msg=name)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "gpt_neox"])
def test_a_read_with_gradients_equals_one_without(
    family: str, plan: PromptPlan, texts: list[list[int]]
) -> None:
    """The two go different ways: only without gradients is the fused attention taken."""
    model = tiny_model(family, 512)
    reads = [[1, 4, len(texts[0])], [0], [len(texts[2]), 2]]
    reader = SlotReader(model, plan)
    with_gradients = reader.digit_logits(texts, reads)
    with torch.no_grad():
        without = reader.digit_logits(texts, reads)
    assert reader._way == "blocks"
    assert with_gradients.logits.requires_grad
    torch.testing.assert_close(without.logits, with_gradients.logits, atol=1e-5, rtol=1e-5)


def test_the_kept_prefix_is_forgotten_on_clear(plan: PromptPlan, texts: list[list[int]]) -> None:
    model = tiny_model("llama", 512)
    reader = SlotReader(model, plan)
    with torch.no_grad():
        before = reader.digit_logits(texts).logits
        for weight in model.parameters():
            weight.mul_(1.1)
        reader.clear()
        after = reader.digit_logits(texts).logits
        fresh = SlotReader(model, plan).digit_logits(texts).logits
    assert torch.equal(after, fresh)
    assert not torch.allclose(before, after, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "dtype"), [*((family, torch.bfloat16) for family in FAMILIES), ("llama", torch.float16)]
)
def test_half_precision_equals_the_oracle_in_the_same_precision(
    family: str, dtype: torch.dtype, plan: PromptPlan, texts: list[list[int]]
) -> None:
    model = tiny_model(family, 512).to(dtype)
    with torch.no_grad():
        read = soft_scores(SlotReader(model, plan).digit_logits(texts[:2]).logits[:, [0, 2]])
        naive = [[naive_logits(model, plan, text, a)[plan.digits] for a in (0, 2)] for text in texts[:2]]
    expected = soft_scores(torch.stack([torch.stack(row) for row in naive]))
    for ours, theirs in zip(read, expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().max() < 2e-2


def test_damaged_weights_are_an_input_error(plan: PromptPlan, texts: list[list[int]]) -> None:
    model = tiny_model("llama", 512)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
        with pytest.raises(InputError, match="not finite"):
            SlotReader(model, plan).digit_logits(texts)


@given(st.lists(st.floats(-30, 30), min_size=9, max_size=9))
def test_soft_scores_are_mean_and_deviation(logits: list[float]) -> None:
    value, spread = soft_scores(torch.tensor(logits))
    p = np.exp(np.array(logits) - max(logits))
    p /= p.sum()
    digit = np.arange(1, 10)
    mean = (p * digit).sum()
    assert value.item() == pytest.approx((mean - 1) / 8, abs=1e-5)
    assert spread.item() == pytest.approx(np.sqrt((p * (digit - mean) ** 2).sum()) / 8, abs=1e-4)
    assert 0 <= value.item() <= 1.000001 and 0 <= spread.item() <= 0.500001
