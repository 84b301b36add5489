"""Scoring items by slots, against what else one could do with the same model, texts and definitions.

Five peers: the model's own `generate()` writing the lines of the answer, and one ordinary prompt per item and attribute,
both with the part before the text read once or with every prompt; and `generate()` held to such lines by outlines-core.
Every side runs at its best batch size; whole prompts at that of the same with the part read once. Without `llm` the
model has the shape of Qwen3 and random weights: what is measured then is work, not meaning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pandas as pd

from guided_refine.bench.scoring_sides import (
    Answer,
    Side,
    SinglePrompts,
    Slots,
    Task,
    Written,
    alone_by_slots,
)
from guided_refine.bench.work import matmul_rate
from guided_refine.data.sample import generate
from guided_refine.files import write_json, write_text
from guided_refine.machine import machine
from guided_refine.progress import Progress
from guided_refine.reporting.markdown import table
from guided_refine.reporting.palette import BLACK, CYCLE, GREY
from guided_refine.reporting.style import new_figure, save, styled
from guided_refine.scoring.attributes import load_attributes
from guided_refine.scoring.prompt import build_prompt, tokenise_texts

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
FILES = ("scoring.png", "scoring.md", "scoring.json")
FORMULA = (
    "FLOP = 2 x parameters beside embeddings and output head x tokens read or written; attention's own products are not "
    "counted, and the last layer's feed-forward part, which slots leave out for all but their last tokens, is"
)
NO_OUTLINES = (
    "outlines is not installed, so structured generation is not measured; pip install 'guided-refine[bench]'"
)

_TEXT_TOKENS = 128
_FEW = 4
"""Items that are also read attribute by attribute, to see that the numbers are equal."""
_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}


@dataclass(frozen=True)
class Shape:
    """Sizes of a random model; `heads` of 64 dimensions, a third of them with keys and values of their own."""

    hidden: int
    layers: int
    heads: int
    inner: int


SMALL = Shape(hidden=384, layers=6, heads=6, inner=1024)
"""Ten million parameters beside the embeddings."""
LARGE = Shape(hidden=768, layers=16, heads=12, inner=2048)
"""A hundred million."""
TINY = Shape(hidden=96, layers=2, heads=3, inner=128)


@dataclass(frozen=True)
class Peer:
    """A side to compare with, and how many times as fast as it slots are to be on two cores with `LARGE`."""

    name: str
    title: str
    side: Side
    aim: float | None
    like: str | None = None
    """A side whose best batch size is taken for this one, too: it would take too long to try all."""


def run(
    progress: Progress | None = None,
    *,
    llm: Path | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    threads: int | None = None,
    out: Path | None = None,
    quick: bool = False,
) -> list[dict[str, Any]]:
    """Measure; one row per peer, in items per second; what all texts share is read before, and its seconds told beside.

    `llm`: a model's folder in place of random weights. `dtype`: without it bfloat16 on a GPU, else float32. `threads`: of
    the processor. `out`: a folder for plot, table and JSON (`FILES`). `quick`: a tiny model, two attributes, four items.
    Tokens, work, share of the measured matmul rate and rank correlation of the digits with the slots' scores stand in
    each row.

    Raises `InputError` as `load_language_model` and `build_prompt` do.
    """
    import torch

    from guided_refine.backbones.training import torch_threads

    progress = progress or Progress(quiet=True)
    with torch_threads(threads), torch.no_grad():
        task = _task(llm, quick, dtype)
        sizes, repeats = _plan(task, quick)
        rows = _rows(task, _measure(task, sizes, repeats, quick, progress))
    if out is not None:
        write(rows, out)
    return rows


def _plan(task: Task, quick: bool) -> tuple[Sequence[int], int]:
    """Batch sizes to try, and how often to measure at the best."""
    if quick:
        return (2, 4), 1
    return ((64, 128, 256, 512) if task.device.type == "cuda" else (8, 16, 32)), 1


def _task(llm: Path | None, quick: bool, dtype: Literal["float32", "bfloat16"] | None = None) -> Task:
    import torch

    from guided_refine.config import LLMOptions
    from guided_refine.scoring.builtin.tokenizer import train_tokenizer
    from guided_refine.scoring.language_model import load_language_model

    cuda = torch.cuda.is_available()
    dtype = dtype or ("bfloat16" if cuda else "float32")
    films = generate(n_items=500 if not quick else 60, n_users=10).items["description"].tolist()
    if llm is not None:
        options = LLMOptions(dtype=dtype, chat="never")
        loaded = load_language_model(str(llm), options)
        model, tokenizer = loaded.model, loaded.tokenizer
    else:
        tokenizer = train_tokenizer(films, 4096)
        model = random_model(len(tokenizer), TINY if quick else LARGE)
        model = model.to("cuda" if cuda else "cpu", getattr(torch, dtype))
    attributes = load_attributes("movies")
    if quick:
        attributes = attributes.model_copy(update={"attributes": attributes.attributes[:2]})
    plan = build_prompt(tokenizer, attributes, "item", chat="never")
    few = _FEW if quick else 500 if cuda else 32
    texts = [ids for ids, _ in tokenise_texts(tokenizer, films[:few], _TEXT_TOKENS)]
    return Task(model, tokenizer, attributes, plan, texts)


def peers(task: Task) -> list[Peer]:
    """The peers that can be measured here."""
    found = [
        Peer(
            "generate",
            "generate(), shared prefix cached",
            Written(task, cached=True, constrained=False),
            10.0,
        ),
        Peer(
            "generate_whole",
            "generate(), every prompt whole",
            Written(task, cached=False, constrained=False),
            None,
            like="generate",
        ),
        Peer(
            "single",
            "one prompt per attribute, shared prefix cached",
            SinglePrompts(task, cached=True),
            5.0,
        ),
        Peer(
            "single_whole",
            "one prompt per attribute, every prompt whole",
            SinglePrompts(task, cached=False),
            None,
            like="single",
        ),
    ]
    if find_spec("outlines_core") is not None:
        side = Written(task, cached=True, constrained=True)
        found.append(Peer("structured", "outlines-core, shared prefix cached", side, 12.0))
    return found


@dataclass
class _Best:
    """A side's best so far, and what it took to read what all texts share."""

    rate: float = 0.0
    batch: int = 0
    answer: Answer | None = None
    prefix_tokens: int = 0
    prefix_seconds: float = 0.0


def _measure(
    task: Task, sizes: Sequence[int], repeats: int, quick: bool, progress: Progress
) -> tuple[list[Peer], dict[str, _Best], bool, float]:
    """Every side at every batch size, then all sides in turn at their best."""
    compared = peers(task)
    if len(compared) < 5:
        progress.log(NO_OUTLINES)
    sides: dict[str, Side] = {"slots": Slots(task), **{peer.name: peer.side for peer in compared}}
    best = {name: _Best() for name in sides}

    def once(name: str, size: int) -> None:
        seconds, answer = _timed(lambda: sides[name](task, size), task.device)
        mine = best[name]
        if (rate := len(task.texts) / seconds) > mine.rate:
            mine.rate, mine.batch, mine.answer = rate, size, answer

    like = {peer.name: peer.like for peer in compared}
    with progress.task("bench scoring", (len(sizes) + repeats) * len(sides)) as bar:
        for name, side in sides.items():
            mine = best[name]
            mine.prefix_seconds, mine.prefix_tokens = _timed(lambda: side.prepare(task), task.device)  # noqa: B023
            other = like.get(name)
            tried = sizes if other is None else [best[other].batch]
            for size in tried:
                once(name, size)
            bar.advance(len(sizes))
        for _ in range(repeats):
            for name in sides:
                once(name, best[name].batch)
                bar.advance()
    few = Task(task.model, task.tokenizer, task.attributes, task.plan, task.texts[:_FEW])
    dtype = task.model.dtype
    together = Slots(few)(few, _FEW).scores
    apart = np.abs(together - alone_by_slots(few, _FEW)).max()
    equal = bool(apart < _TOLERANCE[str(dtype)[6:]])
    return compared, best, equal, matmul_rate(dtype, task.device.type, 0.05 if quick else 0.3)


def _timed(work: Callable[[], T], device: torch.device) -> tuple[float, T]:
    import torch

    started = time.perf_counter()
    answer = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started, answer


def _rows(task: Task, measured: tuple[list[Peer], dict[str, _Best], bool, float]) -> list[dict[str, Any]]:
    compared, best, equal, rate = measured
    parameters = _multiplied(task.model)
    ours, mine = best["slots"], best["slots"].answer
    assert mine is not None
    n = len(task.texts)

    def work(side: _Best) -> dict[str, float]:
        assert side.answer is not None
        flop = 2.0 * parameters * side.answer.tokens
        return {
            "tokens": side.answer.tokens,
            "prefix_tokens": side.prefix_tokens,
            "prefix_seconds": side.prefix_seconds,
            "flop": flop,
            "share_of_matmul_rate": flop / n * side.rate / rate,
        }

    rows = []
    for peer in compared:
        other = best[peer.name]
        assert other.answer is not None
        agreement, attributes = rank_agreement(mine.scores, other.answer.scores)
        own, theirs = work(ours), work(other)
        ratio = ours.rate / other.rate
        rows.append(
            {
                "name": "scoring",
                "side": peer.name,
                "case": f"{n} items, {len(task.plan.names)} attributes, {parameters / 1e6:.3g}M parameters, "
                f"{str(task.model.dtype)[6:]} on {task.device.type}; batch {ours.batch} against {other.batch}",
                "ours": ours.rate,
                "peer": other.rate,
                "peer_name": peer.title,
                "unit": "items/s",
                "ratio": ratio,
                "aim": peer.aim,
                # Prompts that are laid out otherwise say something else; the same layout is compared in `equal_alone`.
                "equal_results": None,
                "equal_alone": equal,
                "ours_batch": ours.batch,
                "peer_batch": other.batch,
                "rank_agreement": agreement,
                "attributes_compared": attributes,
                "digits_found": float(np.isfinite(other.answer.scores).mean()),
                "machine": machine(),
                "matmul_rate": rate,
                "formula": FORMULA,
                "ours_work": own,
                "peer_work": theirs,
                "notes": [
                    f"tokens: {own['tokens']:,} against {theirs['tokens']:,}; share of the measured matmul rate "
                    f"({rate / 1e9:.0f} GFLOP/s): {own['share_of_matmul_rate']:.0%} against "
                    f"{theirs['share_of_matmul_rate']:.0%}",
                    f"read once for all items: {own['prefix_tokens']:,.0f} tokens in {own['prefix_seconds']:.1f} s against "
                    f"{theirs['prefix_tokens']:,.0f} in {theirs['prefix_seconds']:.1f} s; not in the rates",
                    "rank correlation of its digits with the slots' scores: "
                    + (
                        f"{agreement:.2f}, {attributes} attributes"
                        if agreement is not None
                        else "none to compare"
                    ),
                    f"each attribute in a pass of its own gives equal slot scores: {'yes' if equal else 'NO'}",
                ]
                + ([f"aim on two cores: {peer.aim:g}x"] if peer.aim else []),
            }
        )
    return rows


def _multiplied(model: Any) -> int:
    """Parameters beside embeddings and output head."""
    from torch.nn import Embedding

    apart = [m.weight for m in model.modules() if isinstance(m, Embedding)]
    head = model.get_output_embeddings()
    apart += [] if head is None else list(head.parameters())
    left_out = {id(p) for p in apart}
    return sum(p.numel() for p in model.parameters() if id(p) not in left_out)


def rank_agreement(ours: np.ndarray, theirs: np.ndarray) -> tuple[float | None, int]:
    """Mean over attributes of Spearman's correlation over items, and over how many attributes it is.

    Shapes (items, attributes). Items without a digit are left out; an attribute with fewer than three others, or one
    value on a side, has no correlation. None where there is no attribute.

    >>> rank_agreement(np.array([[0.1, 0], [0.2, 0], [0.4, 1]]), np.array([[0, 1], [0.5, 1], [1, 1]]))
    (1.0, 1)
    """
    from scipy.stats import rankdata

    found = []
    for mine, other in zip(ours.T, theirs.T, strict=True):
        there = np.isfinite(mine) & np.isfinite(other)
        a, b = rankdata(mine[there]), rankdata(other[there])
        if len(a) >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0:
            found.append(float(np.corrcoef(a, b)[0, 1]))
    return (round(float(np.mean(found)), 6), len(found)) if found else (None, 0)


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Plot, table and JSON of the rows."""
    png, markdown, json_file = (out / name for name in FILES)
    write_json(json_file, rows)
    head = [
        "against",
        "items/s",
        "slots, items/s",
        "ratio",
        "tokens",
        "slots, tokens",
        "rank correlation",
        "batch",
        "read once",
    ]
    body = [
        [
            row["peer_name"],
            f"{row['peer']:.3g}",
            f"{row['ours']:.3g}",
            f"{row['ratio']:.1f}x",
            f"{row['peer_work']['tokens']:,}",
            f"{row['ours_work']['tokens']:,}",
            "-" if row["rank_agreement"] is None else f"{row['rank_agreement']:.2f}",
            str(row["peer_batch"]),
            f"{row['peer_work']['prefix_seconds']:.1f} s",
        ]
        for row in rows
    ]
    mine = rows[0]["ours_work"]
    text = [
        f"{rows[0]['case'].partition(';')[0]}; {rows[0]['machine']}. Slots: batches of {rows[0]['ours_batch']}, "
        f"{mine['prefix_tokens']:,} tokens read once in {mine['prefix_seconds']:.1f} s.",
        "",
        *table(head, body),
    ]
    write_text(markdown, "\n".join(text) + "\n")
    draw(pd.DataFrame(rows), png)


@styled
def draw(table: pd.DataFrame, path: Path) -> Path:
    """Items per second of every side, as bars. `table`: the rows of `run`."""
    figure, axes = new_figure(1, 1, (6.4, 0.9 + 0.4 * (len(table) + 1)))
    axis = axes[0][0]
    names = ["slots (this package)", *table["peer_name"]]
    rates = [float(table["ours"].iloc[0]), *map(float, table["peer"])]
    axis.barh(range(len(names)), rates, color=[CYCLE[0], *[GREY] * len(table)])
    for place, rate in enumerate(rates):
        axis.annotate(f" {rate:.3g}", (rate, place), va="center", color=BLACK)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, max(rates) * 1.12)
    axis.set_xlabel("items per second")
    return save(figure, path)


def random_model(vocabulary: int, shape: Shape = SMALL) -> Any:
    """A causal language model of Qwen3's kind with random weights, the same at every call."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads // 3,
        head_dim=64,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=None,
    )
    return Qwen3ForCausalLM(config).eval()
