"""A server that answers from a real model's logits gives the scores that the model gives when it is read right here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_brain import ModelBrain, oracle
from protocol_server import ProtocolServer, labels_of
from tiny_models import make_attributes, make_dataset, tiny_model

from guided_refine.config import LLMOptions
from guided_refine.config_remote import RemoteOptions
from guided_refine.scoring.remote.parsing import soft_score
from guided_refine.scoring.remote.score import score_remote
from guided_refine.scoring.remote.workload import Workload
from guided_refine.scoring.store import ScoreStore

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)


@pytest.fixture(scope="module", params=["stories260K", "qwen3"])
def model(request: pytest.FixtureRequest, shared: Path) -> tuple[Any, Any]:
    """A pretrained small Llama, and a random Qwen3 with that family's own tokenizer and template."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = shared / "tokenizers" / request.param
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if request.param == "qwen3":
        return tiny_model("qwen3", len(tokenizer), max_position_embeddings=2048), tokenizer
    tokenizer.chat_template = TEMPLATE
    return AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer


def test_values_and_spreads_equal_the_naive_oracle(model: tuple[Any, Any], tmp_path: Path) -> None:
    remote = RemoteOptions(model="tiny", mode="logprobs", concurrency=2)
    options = LLMOptions(event_tokens=6, history_events=3, snapshots=1, text_tokens=12, remote=remote)
    work = Workload(
        make_dataset(users=1, items=3), make_attributes("humour", "story_complexity", "darkness"), options
    )
    with (
        ProtocolServer(ModelBrain(*model)) as server,
        ScoreStore(tmp_path / "store.sqlite") as store,
    ):
        scores, summary = score_remote(server.address, work, store)
    for kind, value, spread in (
        ("item", scores.item_value, scores.item_spread),
        ("user", scores.users.value, scores.users.spread),
    ):
        form = work.asked(kind, "logprobs").form  # type: ignore[arg-type]
        for row, text in enumerate(work.texts[kind]):  # type: ignore[index]
            content = form.content(text)
            want = np.array([soft_score(p) for p in oracle(*model, content, labels_of(content))])
            np.testing.assert_allclose(value[row], want[:, 0], atol=1e-5)
            np.testing.assert_allclose(spread[row], want[:, 1], atol=1e-5)
    assert scores.item_value.std(axis=0).max() > 1e-4
    assert summary.covered_mass is not None and 0 < summary.covered_mass < 1
    assert len(server.bodies) == len(set(work.texts["item"])) + len(set(work.texts["user"]))
