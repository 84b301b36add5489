"""Against the real `transformers serve`, which offers text only: the same digits as the model writes right here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_brain import chat_ids, text_ids
from tiny_models import make_attributes, make_dataset

from guided_refine.config import LLMOptions
from guided_refine.config_remote import RemoteOptions
from guided_refine.errors import InputError
from guided_refine.scoring.remote.parsing import read_lines
from guided_refine.scoring.remote.score import score_remote
from guided_refine.scoring.remote.workload import KINDS, Workload
from guided_refine.scoring.store import ScoreStore

NAME = "stories"
SCALES = ("humour", "darkness")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Answer:\n{% endif %}"
)


def workload(**options: Any) -> Workload:
    remote = RemoteOptions(**{"model": NAME, "timeout": 120, "concurrency": 2, **options})
    llm = LLMOptions(event_tokens=4, history_events=2, snapshots=1, text_tokens=8, remote=remote)
    return Workload(make_dataset(users=2, items=6), make_attributes(*SCALES), llm)


def prompts() -> list[str]:
    work = workload(mode="text")
    return [
        work.asked(kind, "text").form.content(text)
        for kind in KINDS
        for text in dict.fromkeys(work.texts[kind])
    ]


@pytest.fixture(scope="module")
def taught(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A folder with stories260K after it has learned by heart to answer these prompts in lines."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "stories260K")
    tokenizer.chat_template = TEMPLATE
    model = AutoModelForCausalLM.from_pretrained(shared / "tokenizers" / "stories260K")
    torch.manual_seed(0)
    rows, labels = [], []
    for number, prompt in enumerate(prompts()):
        asked = chat_ids(tokenizer, prompt)
        answer = "".join(
            f"{name}: {(number * step) % 9 + 1}\n" for name, step in zip(SCALES, (4, 7), strict=True)
        )
        told = [*text_ids(tokenizer, answer), tokenizer.eos_token_id]
        rows.append(torch.tensor(asked + told))
        labels.append(torch.tensor([-100] * len(asked) + told))
    assert max(map(len, rows)) < 512
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    wanted = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        loss = model(input_ids=ids, labels=wanted).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("models") / NAME
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, model, tokenizer


@pytest.fixture(scope="module")
def address(taught: tuple[Path, Any, Any]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        Path(sys.executable).with_name("transformers"),
        "serve",
        NAME,
        "--device",
        "cpu",
        "--host",
        "127.0.0.1",
    ]
    log = taught[0].parent / "serve.log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=taught[0].parent,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            pytest.fail(f"transformers serve ended: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"transformers serve did not start: {log.read_text()[-2000:]}")


def test_scores_equal_what_the_model_writes_here(
    taught: tuple[Path, Any, Any], address: str, tmp_path: Path
) -> None:
    _, model, tokenizer = taught
    work = workload()
    with ScoreStore(tmp_path / "store.sqlite") as store:
        scores, summary = score_remote(address, work, store)
        again, second = score_remote(address, work, store)
    assert summary.mode == second.mode == "text"
    assert (summary.unreadable, summary.failed, second.requests) == (0, 0, 0)
    assert 0 < summary.tokens <= 512 * summary.requests
    for kind, value in (("item", scores.item_value), ("user", scores.users.value)):
        form = work.asked(kind, "text").form  # type: ignore[arg-type]
        for row, text in enumerate(work.texts[kind]):  # type: ignore[index]
            ids = torch.tensor([chat_ids(tokenizer, form.content(text))])
            written = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=40, do_sample=False
            )
            said = read_lines(
                tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True), form.labels
            )
            want = [np.nan if digit is None else digit.probability.argmax() / 8 for digit in said]
            np.testing.assert_array_equal(value[row], want)
    assert len(np.unique(scores.item_value)) > 2
    np.testing.assert_array_equal(scores.users.value, again.users.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mode": "logprobs"}, "answers without log-probabilities"),
        ({"model": "another"}, "pinned to 'stories'"),
    ],
)
def test_what_it_does_not_offer_is_one_clear_sentence(
    address: str, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with ScoreStore(tmp_path / "store.sqlite") as store:
        with pytest.raises(InputError, match=sentence):
            score_remote(address, workload(**options), store)
        assert store.count() == 0
