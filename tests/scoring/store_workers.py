"""Processes that share a store, for tests that kill them or count what they do; run as a program, without torch.

`kill ADDRESS SEED`: 20 writers, one after the other, each killed at a random moment. `share ADDRESS LOG`: three
workers that compute the same texts, one of which is killed. Both print what they found as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from guided_refine.scoring.store import ScoreStore, StoredScore

KILLS, ROWS = 20, 50
TEXTS, BATCH = 150, 10


def rows(batch: int) -> list[StoredScore]:
    return [StoredScore(f"{batch}:{i}", "a", i / ROWS, 0.1, "x") for i in range(ROWS)]


def write_until_killed(address: str, begin: int, pipe: int) -> None:
    with ScoreStore(address) as store:
        for batch in range(begin, begin + 100_000):
            # The claim of a batch that a kill left behind must not keep its successor waiting.
            granted = store.claim([score.text for score in rows(batch)], ["a"]).granted
            if len(granted) != ROWS:
                os.write(pipe, b"-1\n")
            store.put_many(rows(batch))
            os.write(pipe, f"{batch}\n".encode())


def kill(address: str, seed: int) -> dict[str, object]:
    draw = random.Random(seed)
    done, lost, torn, refused = 0, 0, 0, 0
    for number in range(KILLS):
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(out)
            write_until_killed(address, done, into)
            os._exit(0)
        os.close(into)
        # Every fourth may die before its first batch, or while it opens the store.
        heard = b"" if number % 4 == 0 else os.read(out, 1000)
        time.sleep(draw.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(out) as stream:
            said = [int(line) for line in (heard.decode() + stream.read()).split()]
        refused += said.count(-1)
        told = max([done - 1, *said])
        with ScoreStore(address) as store:
            found = store.get_many([s.text for b in range(told + 3) for s in rows(b)], ["a"])
        whole = [sum((s.text, "a") in found for s in rows(b)) for b in range(told + 3)]
        lost += sum(ROWS - n for n in whole[: told + 1])
        # Written, but killed before it could say so: there as a whole or not at all.
        torn += whole[told + 1] not in (0, ROWS) or whole[told + 2] != 0
        done = told + 1 + (whole[told + 1] == ROWS)
    with ScoreStore(address) as store:
        return {"batches": done, "lost": lost, "torn": torn, "refused": refused, "rows": store.count()}


def compute(address: str, log: Path, slow: bool) -> None:
    """Every text, in batches, as a scorer does: claim, compute, put; look again at what others had in hand."""
    left = [f"t{i}" for i in range(TEXTS)]
    with ScoreStore(address) as store, log.open("a") as journal:
        while left:
            others: list[str] = []
            for begin in range(0, len(left), BATCH):
                batch = left[begin : begin + BATCH]
                claim = store.claim(batch, ["a"])
                mine = sorted(claim.granted)
                for text in mine:
                    journal.write(f"{text} {os.getpid()}\n")
                journal.flush()
                if slow and len(mine):
                    time.sleep(60)  # the kill comes in here
                time.sleep(0.005)
                store.put_many(StoredScore(text, "a", 0.5, 0.1, "x") for text in mine)
                there = {text for text, _ in claim.scores}
                others += [text for text in batch if text not in claim.granted and text not in there]
            left = others
            time.sleep(0.02 if others else 0)


def share(address: str, log: Path) -> dict[str, object]:
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            compute(address, log, slow=number == 0)
            os._exit(0)
        children.append(child)
        while number == 0 and not _lines(log):
            time.sleep(0.01)
    # The others are at work, and find its batch taken. Nobody takes note of its end before theirs.
    time.sleep(0.1)
    os.kill(children[0], signal.SIGKILL)
    codes = [os.waitpid(child, 0)[1] for child in children[1:]]
    computed = [line.split() for line in _lines(log)]
    by = {str(child): [text for text, who in computed if who == str(child)] for child in children}
    with ScoreStore(address) as store:
        return {"codes": codes, "by": list(by.values()), "rows": store.count()}


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


if __name__ == "__main__":
    what, where, third = sys.argv[1:]
    print(json.dumps(kill(where, int(third)) if what == "kill" else share(where, Path(third))))
