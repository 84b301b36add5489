"""Top 10 for all users, beside RecTools, and for 10,000 users over 1,000,000 items in bounded memory.

`recommend` is measured as a user calls it: ids in, a table out, the encoder's work included; both sides' models have the
same sizes and (since only speed is asked for) hardly trained weights. Ranking alone is measured on the same states and
vectors, and there the two lists must be equal.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from guided_refine.bench.backbones import PEER_KINDS, SMALL, rectools_sizes
from guided_refine.bench.events import ML_1M, Shape, generate, read_events, write_events
from guided_refine.bench.fresh import in_fresh_process, summary, timed, usable_cores
from guided_refine.bench.peer import HOW_TO_INSTALL, NAME, rectools_python, run_rectools, settings_line
from guided_refine.config import TrainConfig
from guided_refine.data.dataset import Dataset, load_dataset
from guided_refine.machine import machine, peak_memory
from guided_refine.progress import Progress
from guided_refine.reporting.style import label

K, REPEATS = 10, 3
LIMIT_MIB = 4096
"""What ranking the large catalog may take at its peak."""

LARGE = Shape(users=10_000, items=1_000_000, median=40, spread=0.5, most=200)
LARGE_QUICK = Shape(users=100, items=20_000, median=10, spread=0.5, most=30)
PEER_SHARE = 10
"""RecTools ranks every tenth user only of the large catalog: what is compared is users per second."""

_SAME = 1e-4


def run(
    progress: Progress, *, data: Path | None = None, threads: int | None = None, quick: bool = False
) -> list[dict[str, Any]]:
    """Measure; rows in users per second (median of the repetitions).

    `data`: a prepared dataset folder in place of the generated one of MovieLens 1M's shape. `quick`: tiny sizes.
    """
    threads = threads or usable_cores()
    bench = _Ranking(progress, threads, rectools_python())
    if bench.python is None:
        progress.log(HOW_TO_INSTALL)
    usual = load_dataset(data) if data else generate(SMALL if quick else ML_1M)
    config = TrainConfig(
        width=16 if quick else 64, max_length=20 if quick else 200, heads=2, device="cpu", threads=threads
    )
    with tempfile.TemporaryDirectory() as folder:
        bench.folder = Path(folder)
        rows = [bench.recommend(kind, usual, config) for kind in PEER_KINDS]
        rows.append(bench.rank(usual, config.width, 1))
        large = generate(LARGE_QUICK if quick else LARGE)
        rows.append(bench.rank(large, config.width, PEER_SHARE))
        rows.append(
            bench.recommend("sasrec", large, config.model_copy(update={"max_length": 50}), alone=True)
        )
    return rows


class _Ranking:
    """What all measurements share."""

    folder: Path

    def __init__(self, progress: Progress, threads: int, python: Path | None) -> None:
        self.progress, self.threads, self.python = progress, threads, python

    def _events(self, dataset: Dataset) -> Path:
        path = self.folder / f"{dataset.n_items}.npz"
        return path if path.exists() else write_events(dataset, path)

    def recommend(
        self, kind: str, dataset: Dataset, config: TrainConfig, *, alone: bool = False
    ) -> dict[str, Any]:
        """`Backbone.recommend` for all users, beside RecTools' `recommend` unless `alone`."""
        self.progress.log(f"recommend, {kind}, {dataset.n_items:,} items")
        events = self._events(dataset)
        repeats = 1 if alone else REPEATS
        ours = in_fresh_process(
            measure_recommend, kind, events, config, repeats, threads=self.threads, progress=self.progress
        )
        peer = None
        if self.python is not None and not alone:
            job = {"task": "recommend", "model": kind, "sizes": rectools_sizes(config), "repeats": repeats}
            peer = self._peer(job, events, f"recommend_{kind}")
        return self._row(f"recommend, {label(kind)}", dataset, ours, peer, dataset.n_users)

    def rank(self, dataset: Dataset, width: int, share: int) -> dict[str, Any]:
        """The top items of given states and vectors, beside RecTools' ranker on every `share`-th user."""
        self.progress.log(f"rank, {dataset.n_items:,} items")
        events = self._events(dataset)
        vectors = self.folder / f"vectors_{dataset.n_items}.npz"
        draw = np.random.default_rng(0)
        np.savez(
            vectors,
            state=draw.standard_normal((dataset.n_users, width), dtype=np.float32),
            vector=draw.standard_normal((dataset.n_items, width), dtype=np.float32),
        )
        repeats = REPEATS if share == 1 else 1
        ranked = self.folder / f"ranked_{dataset.n_items}.npz"
        ours = in_fresh_process(
            measure_rank, vectors, events, repeats, ranked, threads=self.threads, progress=self.progress
        )
        peer, users = None, dataset.n_users // share
        if self.python is not None:
            job = {"task": "rank", "vectors": str(vectors), "users": users, "repeats": repeats}
            peer = self._peer(job, events, f"rank_{dataset.n_items}")
        row = self._row("rank only, same vectors", dataset, ours, peer, users)
        if peer is not None:
            same = same_lists(ranked, self.folder / f"rank_{dataset.n_items}" / "ranked.npz", users)
            row["equal_results"] = same
            row["notes"].append(f"lists of {users:,} users equal: {'yes' if same else 'NO'}")
        return row

    def _peer(self, job: dict[str, Any], events: Path, name: str) -> dict[str, Any]:
        assert self.python is not None
        self.progress.log(f"{name}, {NAME}")
        whole = {**job, "events": str(events), "threads": self.threads, "k": K}
        return run_rectools(whole, self.folder / name, python=self.python)

    def _row(
        self,
        case: str,
        dataset: Dataset,
        ours: dict[str, Any],
        peer: dict[str, Any] | None,
        peer_users: int,
    ) -> dict[str, Any]:
        rate = dataset.n_users / ours["median"]
        peer_rate = peer_users / peer["median"] if peer else None
        notes = [
            f"{ours['median']:.3g} s; peak memory {ours['peak_mib']} MiB"
            + (
                f", {'under' if ours['peak_mib'] < LIMIT_MIB else 'OVER'} the limit of {LIMIT_MIB}"
                if dataset.n_items >= LARGE.items
                else ""
            ),
        ]
        if peer:
            notes.append(
                f"{NAME}: {peer['median']:.3g} s for {peer_users:,} users; peak memory {peer['peak_mib']} MiB; "
                f"{settings_line(peer['settings'])}"
            )
        return {
            "name": "ranking",
            "case": f"{case}, top {K}, {dataset.n_users:,} users, {dataset.n_items:,} items, {self.threads} threads",
            "ours": rate,
            "peer": peer_rate,
            "peer_name": f"{NAME} {peer['versions']['rectools']}" if peer else None,
            "unit": "users/s",
            "ratio": rate / peer_rate if peer_rate else None,
            # Differently trained models recommend differently; the lists are compared where the vectors are the same.
            "equal_results": None,
            "machine": machine(),
            "notes": notes,
            "ours_measured": ours,
            "peer_measured": peer,
        }


def measure_recommend(
    kind: str, events: Path, config: TrainConfig, repeats: int, progress: Progress
) -> dict[str, Any]:
    """Time `Backbone.recommend` for all users of the file `events`; meant for a fresh process."""
    from guided_refine.backbones.backbone import Backbone
    from guided_refine.backbones.histories import Histories
    from guided_refine.backbones.tables import IdTable

    dataset = read_events(events)
    backbone = Backbone(kind, IdTable(dataset.n_items, config.width), None, config, seed=0)
    # What a fit leaves behind; its weights do not matter here.
    backbone.item_ids, backbone.user_ids = dataset.item_ids.tolist(), dataset.user_ids
    backbone.histories = Histories.stack([dataset.visible(u, "test") for u in range(dataset.n_users)])
    before = peak_memory()
    seconds, table = timed(lambda: backbone.recommend(dataset.user_ids, k=K), repeats)
    return {**summary(seconds), "start_mib": before, "rows": len(table)}


def measure_rank(
    vectors: Path, events: Path, repeats: int, ranked: Path, progress: Progress
) -> dict[str, Any]:
    """Time `top_items` on the states and vectors of a file, and keep the last lists in `ranked`."""
    import torch

    from guided_refine.backbones.histories import Histories
    from guided_refine.backbones.topk import top_items

    with np.load(vectors) as file:
        states, table = torch.from_numpy(file["state"]), torch.from_numpy(file["vector"])
    histories = Histories.stack(read_events(events).sequences)
    seconds, (scores, places) = timed(lambda: top_items(states, table, K, histories), repeats)
    np.savez(ranked, score=scores.numpy(), item=places.numpy())
    return summary(seconds)


def same_lists(ours: Path, theirs: Path, users: int) -> bool:
    """Whether two files hold the same items for the first `users` users, up to items whose scores are as good as equal.

    `ours`: `score` and `item` (users, k). `theirs`: `user`, `item`, `score`, one row per recommendation.
    """
    with np.load(ours) as mine, np.load(theirs) as other:
        kept = np.isfinite(mine["score"][:users])
        score, item = mine["score"][:users][kept], mine["item"][:users][kept]
        user = np.nonzero(kept)[0]
        if len(other["user"]) != len(user) or not np.array_equal(other["user"], user):
            return False
        if not np.allclose(other["score"], score, rtol=_SAME, atol=_SAME):
            return False
        # Two items may change places only where rounding decides between them.
        swapped = other["item"] != item
        close = np.abs(np.diff(score, prepend=np.nan)) < _SAME
        near = close | np.append(close[1:], False)
        return bool(near[swapped].all())
