"""`guided-refine score` itself, killed by signal 9 at random moments: what was stored stays, and the end is the same."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from guided_refine.scoring.scores import load_scores
from guided_refine.scoring.store import ScoreStore
from guided_refine.scoring.store.verify import verify

KILLS = 20


def started(config: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "guided_refine", "score", str(config), "--out", str(out), "--quiet"]
    return subprocess.Popen(command)


def stored(out: Path) -> int:
    if not (out / "store.sqlite").is_file():
        return 0
    with ScoreStore(out / "store.sqlite") as store:
        return store.count()


@pytest.mark.slow
def test_twenty_kills_of_score_lose_nothing_that_was_stored(shared: Path, tmp_path: Path) -> None:
    config = tmp_path / "shop.yaml"
    options = {"batch_tokens": 256, "text_tokens": 40, "event_tokens": 8, "history_events": 4, "snapshots": 2}
    text = {
        "name": "killed",
        "data": {"reader": "sample", "options": {"n_items": 120, "n_users": 200}},
        "attributes": "movies",
        "llm": str(shared / "tokenizers" / "stories260K"),
        "llm_options": {**options, "device": "cpu"},
        "tune": {"enabled": False},
    }
    config.write_text(yaml.safe_dump(text), encoding="utf-8")
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert started(config, whole).wait(300) == 0
    rng, counts = random.Random(0), [0]
    for _ in range(KILLS):
        process = started(config, torn)
        before = counts[-1]
        while process.poll() is None and stored(torn) == before:
            time.sleep(0.02)
        time.sleep(rng.random() / 10)
        process.kill()
        process.wait(60)
        counts.append(stored(torn))
        with ScoreStore(torn / "store.sqlite") as store:
            assert verify(store) == []
    assert counts == sorted(counts) and 0 < counts[1] < stored(whole)
    assert started(config, torn).wait(300) == 0
    one, other = (load_scores(out / "scores" / "untuned.safetensors") for out in (whole, torn))
    np.testing.assert_array_equal(one.item_value, other.item_value)
    np.testing.assert_array_equal(one.users.value, other.users.value)
    assert stored(torn) == stored(whole)
