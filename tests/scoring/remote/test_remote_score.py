"""A dataset scored by a server that follows the protocol: right values, nothing asked twice, nothing lost."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from protocol_server import Fault, HashBrain, ProtocolServer, labels_of
from tiny_models import make_attributes, make_dataset

from guided_refine.config import LLMOptions
from guided_refine.config_remote import RemoteOptions
from guided_refine.errors import InputError
from guided_refine.scoring.remote import asking
from guided_refine.scoring.remote.budget import spent_before
from guided_refine.scoring.remote.estimate import estimate
from guided_refine.scoring.remote.parsing import soft_score
from guided_refine.scoring.remote.score import RemoteSummary, score_remote
from guided_refine.scoring.remote.workload import Workload
from guided_refine.scoring.scores import AttributeScores
from guided_refine.scoring.store import ScoreStore

TEXTS_OF_ITEMS = 12


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(asking, "pause", lambda seed, key, attempt: 0.001)


@pytest.fixture()
def store(tmp_path: Path) -> Iterator[ScoreStore]:
    with ScoreStore(tmp_path / "store.sqlite") as store:
        yield store


def workload(dataset: Any = None, **options: Any) -> Workload:
    remote = RemoteOptions(**{"model": "tiny", "timeout": 10, "retries": 2, "concurrency": 4, **options})
    llm = LLMOptions(event_tokens=8, history_events=4, snapshots=2, remote=remote)
    return Workload(dataset or make_dataset(), make_attributes(), llm)


def scored(
    server: ProtocolServer, store: ScoreStore, ledger: Path | None = None, dataset: Any = None, **options: Any
) -> tuple[AttributeScores, RemoteSummary]:
    return score_remote(server.address, workload(dataset, **options), store, ledger=ledger)


def oracle(work: Workload, mode: str) -> dict[str, np.ndarray]:
    """What the server's brain thinks of every text: distributions (texts, attributes, 9)."""
    answer = {}
    for kind in ("item", "user"):
        one = work.asked(kind, mode)  # type: ignore[arg-type]
        content = [one.form.content(text) for text in work.texts[kind]]  # type: ignore[index]
        raw = np.exp([HashBrain().digits(text, labels_of(text)) for text in content])
        answer[kind] = raw / raw.sum(-1, keepdims=True)
    return answer


# ---------------------------------------------------------------------- values


def test_log_probabilities_give_the_brains_own_distribution(store: ScoreStore) -> None:
    work = workload(mode="logprobs")
    with ProtocolServer() as server:
        scores, summary = score_remote(server.address, work, store)
    expected = oracle(work, "logprobs")
    for probability, value, spread in (
        (expected["item"], scores.item_value, scores.item_spread),
        (expected["user"], scores.users.value, scores.users.spread),
    ):
        want = np.array([[soft_score(p) for p in row] for row in probability])
        np.testing.assert_allclose(value, want[..., 0], atol=1e-9)
        np.testing.assert_allclose(spread, want[..., 1], atol=1e-9)
    assert summary.covered_mass == pytest.approx(0.9, abs=1e-3)
    assert (summary.items, summary.snapshots) == (12, len(scores.users.user))
    np.testing.assert_array_equal(scores.users.position, work.position)


def test_fewer_alternatives_are_renormalised_and_the_mass_says_so(store: ScoreStore) -> None:
    work = workload(mode="logprobs")
    with ProtocolServer(top=4) as server:
        scores, summary = score_remote(server.address, work, store)
    probability = 0.9 * oracle(work, "logprobs")["item"]
    # Beside the digits the server names two other words, with 6 % and 4 %; they too take places among the four.
    words = np.broadcast_to([0.06, 0.04], (*probability.shape[:-1], 2))
    fourth = np.sort(np.concatenate([probability, words], axis=-1), axis=-1)[..., -4:-3]
    kept = np.where(probability >= fourth, probability, 0)
    value = (kept / kept.sum(-1, keepdims=True)) @ (np.arange(9) / 8)
    np.testing.assert_allclose(scores.item_value, value, atol=1e-9)
    assert summary.covered_mass is not None and 0.4 < summary.covered_mass < 0.9


@pytest.mark.parametrize("mode", ["json", "text"])
def test_bare_digits_have_no_spread(store: ScoreStore, mode: str) -> None:
    work = workload(mode=mode)
    with ProtocolServer() as server:
        scores, summary = score_remote(server.address, work, store)
        asked = len(server.bodies)
        again, _ = score_remote(server.address, work, store)
        assert len(server.bodies) == asked
    expected = oracle(work, mode)
    np.testing.assert_array_equal(scores.item_value, expected["item"].argmax(-1) / 8)
    np.testing.assert_array_equal(scores.users.value, expected["user"].argmax(-1) / 8)
    assert np.isnan(scores.item_spread).all() and np.isnan(again.item_spread).all()
    assert summary.covered_mass is None
    raw = [row for row in store.rows() if row.raw]
    assert {row.spread for row in store.rows()} == {None}
    assert len(raw) == asked and all("humour" in (row.raw or "") for row in raw)


@pytest.mark.parametrize("offers", [("json", "n"), ("json",)])
def test_several_samples_give_a_mean_and_a_spread(store: ScoreStore, offers: tuple[str, ...]) -> None:
    with ProtocolServer(offers=offers) as server:
        scores, summary = scored(server, store, mode="json", samples=4)
        assert all(body["temperature"] == 1.0 for body in server.bodies)
    assert summary.requests == (1 if "n" in offers else 4) * summary.scored / 4
    assert np.isfinite(scores.item_spread).all() and scores.item_spread.max() > 0
    whole = scores.item_value * 8 * 4
    np.testing.assert_allclose(whole, whole.round(), atol=1e-6)


def test_a_server_that_refuses_several_answers_at_once_is_asked_for_one_at_a_time(store: ScoreStore) -> None:
    with ProtocolServer(offers=("json",), refuses=True) as server:
        scores, summary = scored(server, store, mode="json", samples=3)
        assert sum("n" in body for body in server.bodies) <= 4
    assert np.isfinite(scores.item_value).all() and summary.failed == 0


# ---------------------------------------------------------------------- which mode


@pytest.mark.parametrize("refuses", [True, False])
@pytest.mark.parametrize(
    ("offers", "mode"),
    [(("logprobs", "json"), "logprobs"), (("json",), "json"), ((), "text"), (("n",), "text")],
)
def test_auto_takes_the_first_mode_that_is_offered_and_keeps_it(
    store: ScoreStore, offers: tuple[str, ...], mode: str, refuses: bool
) -> None:
    with ProtocolServer(offers=offers, refuses=refuses) as server:
        scores, summary = scored(server, store)
        assert summary.mode == mode
        asked = len(server.bodies)
        tried = ["logprobs", "json", "text"].index(mode)
        texts = store.count() // 4
        assert asked == texts + tried
        again, second = scored(server, store)
        assert len(server.bodies) == asked and second.mode == mode and second.requests == 0
    np.testing.assert_array_equal(scores.item_value, again.item_value)
    np.testing.assert_array_equal(scores.users.value, again.users.value)


@pytest.mark.parametrize("refuses", [True, False])
def test_a_mode_that_is_not_offered_is_one_clear_sentence(store: ScoreStore, refuses: bool) -> None:
    with ProtocolServer(offers=(), refuses=refuses) as server, pytest.raises(InputError) as caught:
        scored(server, store, mode="logprobs")
    assert "set llm_options.remote.mode to json or text" in str(caught.value)
    with ProtocolServer(offers=(), refuses=True) as server, pytest.raises(InputError) as caught:
        scored(server, store, mode="json")
    assert "set llm_options.remote.mode to logprobs or text" in str(caught.value)


def test_newer_parameter_names_are_found_out(store: ScoreStore) -> None:
    def picky(number: int, body: dict[str, Any]) -> Fault | None:
        if "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return Fault(status=400, body={"error": {"message": message}})
        if body.get("temperature") == 0:
            message = "Unsupported value: 'temperature' does not support 0 with this model."
            return Fault(status=400, body={"error": {"message": message}})
        return None

    with ProtocolServer(fault=picky) as server:
        _, summary = scored(server, store, mode="logprobs", concurrency=1)
        assert "max_completion_tokens" in server.bodies[-1] and "temperature" not in server.bodies[-1]
        refused = sum("max_tokens" in body or "temperature" in body for body in server.bodies)
    assert summary.failed == 0 and refused <= 4  # once per feature and kind of text


# ---------------------------------------------------------------------- nothing twice, nothing lost


def test_the_address_is_not_part_of_a_scores_identity(store: ScoreStore) -> None:
    with ProtocolServer() as one:
        scored(one, store)
    with ProtocolServer() as other:
        _, summary = scored(other, store)
        assert other.bodies == [] and summary.requests == 0 and summary.from_store == store.count()


def test_equal_texts_are_asked_once_and_missing_ones_never(store: ScoreStore) -> None:
    dataset = make_dataset()
    dataset.items.loc[:5, "text"] = "The same words."
    dataset.items.loc[:5, "title"] = "Same"
    dataset.items.loc[6, "text"] = "  "
    with ProtocolServer() as server:
        scores, summary = scored(server, store, dataset=dataset)
        prompts = [body["messages"][0]["content"] for body in server.bodies]
    assert len(prompts) == len(set(prompts)) == store.count() // 4
    assert sum("\n\nItem:\n" in prompt for prompt in prompts) == 6
    assert np.isnan(scores.item_value[6]).all() and summary.items_without_text == 1
    assert (scores.item_value[:6] == scores.item_value[0]).all()


def test_what_was_scored_stays_when_the_server_goes_down(store: ScoreStore) -> None:
    with (
        ProtocolServer(fault=lambda number, body: Fault(status=500) if number > 7 else None) as server,
        pytest.raises(InputError) as caught,
    ):
        scored(server, store, concurrency=1, mode="logprobs")
    assert "500: The server had an error" in str(caught.value)
    assert f"7 of {TEXTS_OF_ITEMS} texts were answered and are kept" in str(caught.value)
    assert store.count() == 7 * 4
    with ProtocolServer() as server:
        scores, _ = scored(server, store, mode="logprobs")
        left = len(server.bodies)
    assert np.isfinite(scores.item_value).all()
    assert store.count() == (7 + left) * 4


# ---------------------------------------------------------------------- faults


def test_faults_that_pass_are_tried_again(store: ScoreStore) -> None:
    faults = [
        Fault(status=500),
        Fault("cut"),
        Fault("cut", seconds=1),
        Fault("short"),
        Fault("raw", body=b"junk"),
        Fault("raw", body=b'{"choices": []}'),
        Fault("raw", body=b'{"choices": [1]}'),
        Fault("raw", body=b'{"error": {"message": "with a 200"}}'),
        Fault(status=429, headers={"Retry-After": "0"}),
        Fault("slow", seconds=20),
    ]
    # After two faults in a row at the same question there is an answer, whatever the order of the threads.
    with ProtocolServer(
        fault=lambda n, body: faults[n // 3] if n % 3 == 1 and n // 3 < 10 else None
    ) as server:
        scores, summary = scored(server, store, timeout=1.5, retries=5, mode="logprobs")
    assert summary.retries == len(faults) and summary.failed == 0
    np.testing.assert_allclose(
        scores.item_value, oracle(workload(), "logprobs")["item"] @ (np.arange(9) / 8), atol=1e-9
    )


def test_a_server_that_throttles_is_left_alone_for_as_long_as_it_asks(store: ScoreStore) -> None:
    with ProtocolServer(
        fault=lambda n, body: Fault(status=429, headers={"Retry-After": "1"}) if n == 5 else None
    ) as server:
        _, summary = scored(server, store, concurrency=1)
        pause = server.times[5] - server.times[4]
    assert pause >= 0.99 and summary.retries == 1


def test_never_more_requests_in_flight_than_allowed(store: ScoreStore) -> None:
    with ProtocolServer(fault=lambda n, body: Fault("slow", seconds=0.05)) as server:
        scored(server, store, concurrency=3)
        assert server.most_in_flight <= 3


def test_nobody_there_is_one_clear_sentence(store: ScoreStore) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(InputError) as caught:
            score_remote(address, workload(retries=50), store)
    assert str(caught.value) == (
        f"{address} cannot be reached (Connection refused); start the server or correct llm; "
        "what was scored before is kept"
    )


@pytest.mark.parametrize("mode", ["auto", "text"])
def test_a_wrong_key_or_model_stops_at_once(
    store: ScoreStore, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProtocolServer(keys=["right"]) as server:
        with pytest.raises(InputError, match="refuses the key in OPENAI_API_KEY"):
            scored(server, store, mode=mode)
        assert len(server.bodies) <= 4  # the threads'
    with ProtocolServer() as server, pytest.raises(InputError, match="has no model 'other'"):
        scored(server, store, mode=mode, model="other")
    assert store.count() == 0


def test_single_texts_that_are_refused_are_counted_and_left(store: ScoreStore) -> None:
    def censor(number: int, body: dict[str, Any]) -> Fault | None:
        refused = "The ghost" in body["messages"][0]["content"].partition("\n\nItem:\n")[2]
        return Fault(status=400, body={"error": {"message": "content filter"}}) if refused else None

    with ProtocolServer(fault=censor) as server:
        scores, summary = scored(server, store, mode="json")
        assert summary.failed == 1
        assert np.isnan(scores.item_value[3]).all() and np.isfinite(np.delete(scores.item_value, 3, 0)).all()
        asked = len(server.bodies)
        _, again = scored(server, store, mode="json")
        assert len(server.bodies) == asked + 1 and again.failed == 1


def test_refusing_everything_stops_soon(store: ScoreStore) -> None:
    refuse = Fault(status=400, body={"error": {"message": "bad request"}})
    with ProtocolServer(fault=lambda n, body: refuse) as server:
        with pytest.raises(InputError, match=r"refuses a request \(400: bad request\)"):
            scored(server, store, mode="text", concurrency=2)
        assert len(server.bodies) < 8


# ---------------------------------------------------------------------- answers that cannot be read


def test_unreadable_answers_are_asked_again_with_the_form_then_left(store: ScoreStore) -> None:
    def sloppy(content: str, digits: dict[str, int]) -> str:
        told = content.partition("\n\nItem:\n")[2] or content.partition("oldest first:\n")[2]
        lines = [f"{label}: {digit}" for label, digit in digits.items()]
        if "The king" in told and "exactly this form" not in content:
            return "I would rather not say."
        if told.startswith("The dog"):
            return "\n".join(line for line in lines if not line.startswith("humour"))
        return "\n".join(lines)

    with ProtocolServer(offers=(), write=sloppy) as server:
        scores, summary = scored(server, store, mode="text", asks=2)
        reminded = [b for b in server.bodies if "exactly this form" in b["messages"][0]["content"]]
    assert np.isfinite(scores.item_value[4]).all()
    assert np.isnan(scores.item_value[0, 0]) and np.isfinite(scores.item_value[0, 1:]).all()
    assert summary.unreadable >= 1 and summary.asked_again == len(reminded) >= 2
    assert summary.scored == store.count()


def test_a_history_without_any_answer_is_left_out(store: ScoreStore) -> None:
    def silent(content: str, digits: dict[str, int]) -> str:
        lines = "\n".join(f"{label}: {digit}" for label, digit in digits.items())
        return "" if content.partition("oldest first:\n")[2].count("\n") == 3 else lines

    with ProtocolServer(offers=(), write=silent) as server:
        scores, summary = scored(server, store, mode="text", asks=1)
    answered = [text.count("\n") != 3 for text in workload().texts["user"]]
    assert summary.unreadable > 0 and 0 < sum(answered) < len(answered) == summary.snapshots
    assert len(scores.users.user) == sum(answered)
    assert np.isfinite(scores.users.value).all()


@pytest.mark.parametrize("answer", ["I cannot rate things.", "", "humour humour humour " * 30])
def test_a_model_that_never_answers_in_the_form_is_found_out_soon(store: ScoreStore, answer: str) -> None:
    with ProtocolServer(offers=(), write=lambda content, digits: answer) as server:
        with pytest.raises(InputError, match=r"none of the first 1[0-9] answers could be read") as caught:
            scored(server, store, asks=1)
        assert len(server.bodies) <= 3 + TEXTS_OF_ITEMS
    assert answer[:20] in str(caught.value)
    assert store.count() == 0


# ---------------------------------------------------------------------- the budget


def worst(content: str, answer: str) -> tuple[int, int]:
    """A server whose tokens are bytes."""
    return len(content.encode()), len(answer.encode())


def test_the_estimate_is_what_is_asked_and_never_less_than_it_costs(store: ScoreStore) -> None:
    work = workload(mode="json")
    before = estimate(work, store)
    assert store.count() == 0 and before.in_store == 0 and before.requests == before.texts
    with ProtocolServer(usage=worst) as server:
        _, summary = score_remote(server.address, work, store)
        assert len(server.bodies) == before.requests
        assert summary.tokens == server.tokens <= before.tokens
    after = estimate(work, store)
    assert (after.in_store, after.requests, after.tokens) == (before.texts, 0, 0)
    assert "100%" in after.sentence()


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 1.0])
def test_the_budget_is_never_exceeded_and_the_rest_comes_later(
    tmp_path: Path, store: ScoreStore, share: float, concurrency: int
) -> None:
    ledger = tmp_path / "tokens.json"
    limit = int(estimate(workload(mode="json"), store).tokens * share)
    options: dict[str, Any] = {"mode": "json", "max_tokens_total": limit, "concurrency": concurrency}
    flaky = {3: Fault(status=500), 6: Fault("cut"), 9: Fault(status=429)}
    with ProtocolServer(usage=worst, fault=lambda n, body: flaky.get(n)) as server:
        try:
            scored(server, store, ledger, **options)
            finished = True
        except InputError as error:
            finished = False
            assert re.match(r"the token budget is used up: [\d,]+ of [\d,]+ tokens are spent", str(error))
        assert server.tokens <= spent_before(ledger) <= limit
        kept = store.count() // 4
        assert kept == sum(n not in flaky for n in range(1, len(server.bodies) + 1))
        assert finished == (kept == estimate(workload(mode="json"), store).texts)
    if not finished:
        with ProtocolServer(usage=worst) as server:
            with pytest.raises(InputError, match="the token budget is used up"):
                scored(server, store, ledger, **options)
            assert server.tokens <= limit - spent_before(ledger) + server.tokens
            assert spent_before(ledger) <= limit
            scores, _ = scored(server, store, ledger, **{**options, "max_tokens_total": limit * 200})
        assert np.isfinite(scores.item_value).all()


def test_a_server_that_counts_more_than_there_are_bytes_is_noticed(tmp_path: Path, store: ScoreStore) -> None:
    ledger = tmp_path / "tokens.json"

    def inflated(content: str, answer: str) -> tuple[int, int]:
        return len(content.encode()) + 500, len(answer.encode())

    with ProtocolServer(usage=inflated) as server:
        with pytest.raises(InputError, match="used up"):
            scored(server, store, ledger, mode="json", max_tokens_total=6000, concurrency=1)
        assert server.tokens <= 6000 and len(server.bodies) >= 2


def test_the_scores_and_the_store_hold_no_key(
    tmp_path: Path, store: ScoreStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123456")
    with ProtocolServer(keys=["sk-secret-123456"]) as server:
        scores, summary = scored(server, store, tmp_path / "tokens.json")
    store.close()
    assert "sk-secret" not in repr(scores) + repr(summary)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"sk-secret" not in path.read_bytes(), path
    assert json.loads((tmp_path / "tokens.json").read_text())["tokens"] == summary.tokens
