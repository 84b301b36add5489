"""Scoring items by slots, against letting the same model write the lines.

A random Qwen3-shaped model of about ten million parameters: what is measured is work, not meaning. Two peers: the
model's own `generate()` writing all lines of the answer, over a cached prompt prefix and at its best batch size; and
one prompt per item and attribute under the slots' own visibility rule, which must give equal numbers.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from guided_refine.data.sample import generate
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import load_attributes
from guided_refine.scoring.prompt import PromptPlan, build_prompt, generation_lines, tokenise_texts

if TYPE_CHECKING:
    import torch

_FEW = 4
"""Items that are also read one by one, which is slow."""
_BATCHES = (8, 16, 32)
_TOLERANCE = 1e-4


def run(progress: Progress | None = None, *, items: int = 32, repeats: int = 2) -> list[dict[str, Any]]:
    """Measure; one row per peer, in items per second. `work` holds tokens and FLOP of both sides."""
    import torch

    from guided_refine.scoring.builtin.tokenizer import train_tokenizer
    from guided_refine.scoring.slots import SlotReader, soft_scores

    progress = progress or Progress(quiet=True)
    films = generate(n_items=500, n_users=10).items["description"].tolist()
    tokenizer = train_tokenizer(films, 4096)
    plan = build_prompt(tokenizer, load_attributes("movies"), "item")
    texts = [ids for ids, _ in tokenise_texts(tokenizer, films[:items], 128)]
    model = random_model(len(tokenizer))
    reader = SlotReader(model, plan)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))

    def by_slots(batch: int) -> torch.Tensor:
        reader.clear()
        parts = [
            reader.digit_logits([texts[i] for i in order[k : k + batch]]).logits
            for k in range(0, len(order), batch)
        ]
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order)] = torch.arange(len(order))
        return soft_scores(torch.cat(parts)[back])[0]

    def one_by_one(_: int) -> torch.Tensor:
        alone = [plan.select([a]) for a in range(len(plan.names))]
        rows = []
        for text in texts[:_FEW]:
            values = []
            for one in alone:
                # A new reader each time: a single prompt has no prefix to share.
                single = SlotReader(model, one)
                single._in_blocks = False
                values.append(soft_scores(single.digit_logits([text]).logits)[0][0, 0])
            rows.append(torch.stack(values))
        return torch.stack(rows)

    with torch.no_grad():
        written = _Written(model, plan, texts)
        sides: dict[str, tuple[Callable[[int], Any], Sequence[int], int]] = {
            "slots": (by_slots, _BATCHES, items),
            "generate": (written, _BATCHES, items),
            "one_by_one": (one_by_one, (1,), _FEW),
        }
        best, answers = _best_rates(sides, repeats, progress)
    equal = bool((answers["slots"][:_FEW] - answers["one_by_one"]).abs().max() < _TOLERANCE)
    parameters = sum(p.numel() for n, p in model.named_parameters() if "embed" not in n)
    ours = plan.prefix_tokens + sum(map(len, texts)) + plan.slot_tokens * items
    theirs = len(written.prefix) + written.tokens
    single = sum(
        len(plan.head) + len(d) + len(plan.opening) + len(text) + len(slot)
        for text in texts
        for d, slot in zip(plan.definitions, plan.slots, strict=True)
    )
    case = f"{items} items, {len(plan.names)} attributes, {parameters / 1e6:.0f}M parameters"
    rows = []
    for name, peer_name, tokens, same in (
        ("generate", "generate() writing the lines, prefix cached", theirs, None),
        ("one_by_one", "one prompt per item and attribute", single, equal),
    ):
        (rate, batch), (other, peer_batch) = best["slots"], best[name]
        rows.append(
            {
                "name": "scoring",
                "case": f"{case}; batch {batch} against {peer_batch}",
                "ours": rate,
                "peer": other,
                "peer_name": peer_name,
                "unit": "items/s",
                "ratio": rate / other,
                # A random model's written lines hold no scores to compare; None says so.
                "equal_results": same,
                "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
                f"{torch.get_num_threads()} threads, torch {torch.__version__}",
                "work": {
                    "our_tokens": ours,
                    "peer_tokens": tokens,
                    "our_flop": 2 * parameters * ours,
                    "peer_flop": 2 * parameters * tokens,
                },
            }
        )
        progress.log(
            f"{peer_name}: {tokens} tokens, {2 * parameters * tokens:.3g} FLOP; slots: {ours} tokens"
        )
    return rows


def _best_rates(
    sides: dict[str, tuple[Callable[[int], Any], Sequence[int], int]], repeats: int, progress: Progress
) -> tuple[dict[str, tuple[float, int]], dict[str, Any]]:
    """Items per second and batch size of each side at its best, all sides in turn in every round."""
    best = dict.fromkeys(sides, (0.0, 0))
    answers: dict[str, Any] = {}
    with progress.task("bench scoring", repeats) as task:
        for _ in range(repeats):
            for name, (work, batch_sizes, items) in sides.items():
                for batch in batch_sizes:
                    started = time.perf_counter()
                    answers[name] = work(batch)
                    best[name] = max(best[name], (items / (time.perf_counter() - started), batch))
            task.advance()
    return best, answers


class _Written:
    """`generate()` over the whole prompt, with the part before the text cached once and shared by the batch."""

    def __init__(self, model: Any, plan: PromptPlan, texts: list[list[int]]) -> None:
        self._model = model
        self._texts = sorted(texts, key=len)
        self._tail = plan.tail
        self.prefix = [*plan.head, *(token for d in plan.definitions for token in d), *plan.opening]
        lines = generation_lines(plan, [])
        self._new = len(lines.ids) - lines.prompt_length
        self.tokens = sum(len(text) + len(self._tail) + self._new for text in texts)

    def __call__(self, batch: int) -> torch.Tensor:
        import torch
        from transformers import DynamicCache

        kept = self._model(
            input_ids=torch.tensor([self.prefix]), past_key_values=DynamicCache()
        ).past_key_values
        answers = []
        for begin in range(0, len(self._texts), batch):
            rows = [[*text, *self._tail] for text in self._texts[begin : begin + batch]]
            longest = max(map(len, rows))
            cache = DynamicCache()
            for index, layer in enumerate(kept.layers):
                shape = (len(rows), -1, -1, -1)
                cache.update(layer.keys.expand(shape), layer.values.expand(shape), index)
            ids = torch.tensor([[*self.prefix, *[0] * (longest - len(row)), *row] for row in rows])
            seen = torch.ones_like(ids)
            for number, row in enumerate(rows):
                seen[number, len(self.prefix) : len(self.prefix) + longest - len(row)] = 0
            answers.append(
                self._model.generate(
                    ids,
                    attention_mask=seen,
                    past_key_values=cache,
                    min_new_tokens=self._new,
                    max_new_tokens=self._new,
                    do_sample=False,
                    pad_token_id=0,
                )[:, -self._new :]
            )
        return torch.cat(answers)


def random_model(vocabulary: int) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=None,
    )
    return Qwen3ForCausalLM(config).eval()
