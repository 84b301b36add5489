"""One of several processes that score the same dataset by one server into one store: says "ready", waits for "go"."""

from __future__ import annotations

import json
import sys

from tiny_models import make_attributes, make_dataset

from guided_refine.config import LLMOptions
from guided_refine.config_remote import RemoteOptions
from guided_refine.scoring.remote.score import score_remote
from guided_refine.scoring.remote.workload import Workload
from guided_refine.scoring.store import ScoreStore


def options(mode: str) -> LLMOptions:
    remote = RemoteOptions(model="tiny", mode=mode, concurrency=2, timeout=30)  # type: ignore[arg-type]
    return LLMOptions(event_tokens=8, history_events=4, snapshots=2, remote=remote)


def main(server: str, store_address: str, mode: str) -> None:
    work = Workload(make_dataset(), make_attributes(), options(mode))
    print("ready", flush=True)
    sys.stdin.readline()
    with ScoreStore(store_address) as store:
        scores, summary = score_remote(server, work, store)
    print(
        json.dumps(
            {
                "requests": summary.requests,
                "scored": summary.scored,
                "from_store": summary.from_store,
                "mode": summary.mode,
                "values": [scores.item_value.tolist(), scores.users.value.tolist()],
                "spreads": [scores.item_spread.tolist(), scores.users.spread.tolist()],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
