"""RecTools' side of `guided-refine bench`: runs in RecTools' own environment, reads one job, writes one result.

    python peer.py JOB.json

JOB.json holds `task` (train, unisrec, recommend or rank), `events` (the archive both sides read: item, length, n_train,
valid, test, n_items), `out` (a folder), `threads`, and what the task asks for. The answer is `out`/result.json. Settings
that the job does not name are RecTools' defaults.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
# Before NumPy and torch are imported: they read it once.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(job["threads"])
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from pytorch_lightning import Callback, Trainer  # noqa: E402
from rectools import Columns  # noqa: E402
from rectools.dataset import Dataset  # noqa: E402
from rectools.models import BERT4RecModel, SASRecModel  # noqa: E402
from rectools.models.rank import Distance, TorchRanker  # noqa: E402
from scipy import sparse  # noqa: E402

torch.set_num_threads(job["threads"])
MODELS = {"sasrec": SASRecModel, "bert4rec": BERT4RecModel}


def peak_mib() -> int | None:
    """The most memory this process has held, in MiB."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), None)


def histories(ends: str) -> Dataset:
    """RecTools' dataset of each user's first events, up to the places that the archive's array `ends` names."""
    with np.load(job["events"]) as file:
        item, length = file["item"], file["length"]
        end = np.where(file[ends] < 0, file["n_train"], file[ends])
    user = np.repeat(np.arange(len(length)), length)
    place = np.arange(len(item)) - np.repeat(np.cumsum(length) - length, length)
    kept = place < end[user]
    frame = pd.DataFrame(
        {
            Columns.User: user[kept],
            Columns.Item: item[kept].astype(np.int64),
            Columns.Weight: 1.0,
            # Only the order is known; a nanosecond per place keeps it.
            Columns.Datetime: place[kept].astype("datetime64[ns]"),
        }
    )
    return Dataset.construct(frame)


def model_of(trainer: Callable[[], Trainer]) -> Any:
    """The model with the job's sizes; everything else as RecTools ships it."""
    sizes = dict(job["sizes"])
    if job["model"] != "bert4rec":
        sizes.pop("mask_prob", None)
    return MODELS[job["model"]](get_trainer_func=trainer, **sizes)


def shown_settings(model: Any) -> dict[str, Any]:
    """The numbers and switches of the model's configuration that shape its work, RecTools' defaults included."""
    config = model.get_config(simple_types=True)
    idle = ("epochs", "verbose", "n_negatives", "gbce_t", "deterministic")
    return {k: v for k, v in config.items() if k not in idle and (k == "loss" or isinstance(v, (int, float)))}


class Watch(Callback):
    """Times each epoch and, outside of it, writes what the model would compare: user states and item vectors."""

    def __init__(self, train: Dataset, valid: Dataset) -> None:
        self.seconds: list[float] = []
        self.valid, self.model = valid, None
        self.users = train.user_id_map.external_ids

    def __deepcopy__(self, _: Any) -> Watch:
        """RecTools fits with a copy of its trainer; this object must stay the one that is read afterwards."""
        return self

    def on_train_epoch_start(self, *_: Any) -> None:
        """An epoch begins."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        """An epoch is over."""
        self.seconds.append(time.perf_counter() - self.started)
        peak = peak_mib()
        with torch.random.fork_rng():
            self.write(len(self.seconds))
        # What is written must not count as training's memory.
        self.peak = peak if len(self.seconds) == 1 else self.peak

    def write(self, epoch: int) -> None:
        """States of all users before their validation target, and vectors of all items RecTools knows."""
        model = self.model
        rows = model.data_preparator.transform_dataset_u2i(self.valid, self.users)
        loader = model.data_preparator.get_dataloader_recommend(rows, model.recommend_batch_size)
        states, vectors = model.lightning_model._get_user_item_embeddings(loader, "cpu")
        known = model.data_preparator.get_known_items_sorted_internal_ids()
        np.savez(
            Path(job["out"]) / f"epoch_{epoch}.npz",
            user=rows.user_id_map.external_ids.astype(np.int64),
            state=states.numpy(),
            item=model.data_preparator.get_known_item_ids().astype(np.int64),
            vector=vectors[known].detach().numpy(),
        )
        model.lightning_model.train()


def trainer(**options: Any) -> Trainer:
    """RecTools' own default trainer, with the options of this job on top."""
    return Trainer(
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
        devices=1,
        accelerator="cpu",
        **options,
    )


def train() -> dict[str, Any]:
    """Fit for `epochs` epochs on the training events."""
    data = histories("n_train")
    watch = Watch(data, histories("valid"))
    epochs = job["epochs"]
    model = model_of(lambda: trainer(max_epochs=epochs, min_epochs=epochs, callbacks=[watch]))
    watch.model = model
    start = peak_mib()
    model.fit(data)
    return {
        **summary(watch.seconds, watch.peak),
        "start_mib": start,
        "parameters": sum(p.numel() for p in model.torch_model.parameters()),
        "settings": shown_settings(model),
    }


def unisrec() -> dict[str, Any]:
    """Fit UniSRec, which reads items from their text vectors alone, for `epochs` epochs on the training events.

    After each epoch `epoch_K.npz` gets vectors of all items, those that training lacks with them, and states of all users
    before their validation target (`valid`) and before their test target (`test`).
    """
    from rectools.fast_transformers import UniSRecModel

    class Watched(UniSRecModel):  # type: ignore[misc]
        """As it is, with a look at the network after each epoch."""

        def _make_trainer(self, max_epochs: int, val_dl: Any = None) -> Trainer:
            return trainer(max_epochs=max_epochs, gradient_clip_val=self.grad_clip, callbacks=[Look()])

    with np.load(job["texts"]) as file:
        # Row 0 is for places without an event.
        texts = torch.from_numpy(
            np.concatenate([np.zeros((1, file["vectors"].shape[1]), np.float32), file["vectors"]])
        )
    length = job["sizes"]["session_max_len"]
    before = {ends: padded(histories(ends), length) for ends in ("valid", "test")}

    class Look(Callback):
        """Writes states and vectors; the whole catalog's texts stand in the place of the trained items' meanwhile."""

        epoch = 0

        @torch.no_grad()
        def on_train_epoch_end(self, _: Any, module: Any) -> None:
            """An epoch is over."""
            self.epoch += 1
            net = module.net.eval()
            known, net.frozen_emb = net.frozen_emb, texts[:, None]
            states = {
                ends: torch.cat([net.encode_last(part) for part in rows.split(512)]).numpy()
                for ends, rows in before.items()
            }
            np.savez(
                Path(job["out"]) / f"epoch_{self.epoch}.npz", vectors=net.project_all()[1:].numpy(), **states
            )
            net.frozen_emb = known
            net.train()

    torch.manual_seed(job["seed"])
    model = Watched(texts, epochs=job["epochs"], **job["sizes"])
    frame = histories("n_train").get_raw_interactions()
    columns = [
        torch.from_numpy(frame[c].to_numpy().astype(np.int64))
        for c in (Columns.User, Columns.Item, Columns.Datetime)
    ]
    started = time.perf_counter()
    model.fit(*columns)
    seconds = time.perf_counter() - started
    return {**summary([seconds], peak_mib()), "parameters": sum(p.numel() for p in model.net.parameters())}


def padded(data: Dataset, length: int) -> torch.Tensor:
    """Each user's last `length` items, users in order, (users, length); zeros before them."""
    frame = data.get_raw_interactions().sort_values([Columns.User, Columns.Datetime])
    with np.load(job["events"]) as file:
        rows = np.zeros((len(file["length"]), length), np.int64)
    back = frame.groupby(Columns.User).cumcount(ascending=False).to_numpy()
    near = back < length
    rows[frame[Columns.User].to_numpy()[near].astype(int), length - 1 - back[near]] = frame[
        Columns.Item
    ].to_numpy()[near]
    return torch.from_numpy(rows)


def recommend() -> dict[str, Any]:
    """Time `recommend` for all users; the model has seen one batch, which is all that its speed depends on."""
    model = model_of(lambda: trainer(max_epochs=1, limit_train_batches=1))
    model.fit(histories("n_train"))
    data = histories("test")
    users = data.user_id_map.external_ids
    seconds, table = timed(lambda: model.recommend(users, data, k=job["k"], filter_viewed=True))
    return {**summary(seconds, peak_mib()), "rows": len(table), "settings": shown_settings(model)}


def rank() -> dict[str, Any]:
    """Time RecTools' ranker, the one inside `recommend`, on given states and vectors."""
    with np.load(job["vectors"]) as file:
        states, vectors = file["state"][: job["users"]], file["vector"]
    with np.load(job["events"]) as file:
        item, length = file["item"], file["length"]
    rows = np.repeat(np.arange(len(length)), length)
    inside = rows < len(states)
    seen = sparse.csr_matrix(
        (np.ones(inside.sum(), np.float32), (rows[inside], item[inside] - 1)), (len(states), len(vectors))
    )
    ranker = TorchRanker(Distance.DOT, "cpu", subjects_factors=states, objects_factors=vectors)
    subjects = np.arange(len(states))
    seconds, (user, found, score) = timed(lambda: ranker.rank(subjects, k=job["k"], filter_pairs_csr=seen))
    np.savez(Path(job["out"]) / "ranked.npz", user=user, item=found, score=score)
    return {**summary(seconds, peak_mib()), "settings": {"batch_size": ranker.batch_size}}


def timed(work: Callable[[], Any]) -> tuple[list[float], Any]:
    """Seconds of each of `repeats` calls after one that does not count, and what the last returned."""
    seconds = []
    result = work()
    for _ in range(job["repeats"]):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return seconds, result


def summary(seconds: list[float], peak: int | None) -> dict[str, Any]:
    """As ours: median and all repetitions, peak memory in MiB, the machine's load, versions."""
    return {
        "median": statistics.median(seconds),
        "seconds": [round(s, 4) for s in seconds],
        "peak_mib": peak,
        "load": round(os.getloadavg()[0], 2),
        "versions": {name: version(name) for name in ("rectools", "torch", "numpy")},
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    os.chdir(job["out"])
    result = {"train": train, "unisrec": unisrec, "recommend": recommend, "rank": rank}[job["task"]]()
    Path("result.json").write_text(json.dumps(result, default=str), encoding="utf-8")
