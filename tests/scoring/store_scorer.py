"""One of two processes that score the same dataset into one store: says "ready", waits for "go", prints what it did."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from tiny_models import make_attributes, make_dataset

from guided_refine.config import LLMOptions
from guided_refine.scoring.language_model import load_language_model
from guided_refine.scoring.scorer import score_dataset
from guided_refine.scoring.slots import SlotReader
from guided_refine.scoring.store import ScoreStore

OPTIONS = LLMOptions(text_tokens=40, event_tokens=8, history_events=6, snapshots=3, batch_tokens=400)


def main(address: str, stories: str) -> None:
    model = load_language_model(stories, LLMOptions())
    read = []
    original = SlotReader.digit_logits

    def counted(self: SlotReader, texts: Any, reads: Any = None) -> Any:
        read.append(sum(map(len, reads)) * len(self.plan.names))
        time.sleep(0.03)  # gives the other process its turn
        return original(self, texts, reads)

    SlotReader.digit_logits = counted  # type: ignore[method-assign]
    print("ready", flush=True)
    sys.stdin.readline()
    with ScoreStore(address) as store:
        scores, summary = score_dataset(
            model, make_dataset(), make_attributes(), OPTIONS, store, source="untuned"
        )
    assert summary.passes == len(read)
    values = [scores.item_value.tolist(), scores.users.value.tolist()]
    facts = {"read": sum(read), "scored": summary.scored, "from_store": summary.from_store, "values": values}
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
