"""Where the builtin model's weights start: it can already read a little, so that minutes of gradient steps suffice.

Four things are written into otherwise random weights, each in a few dimensions of its own:

* embeddings: what a token keeps company with (positive pointwise mutual information reduced by a singular value
  decomposition, which is what word2vec approximates: Levy and Goldberg, 2014), and the mean teacher's label of the
  texts that hold it;
* attention that copies what it looks at (Trockman and Kolter, 2023, "Mimetic initialization of self-attention
  layers"), half of the heads looking at the last few tokens;
* in the first layer: one head that averages the labels of all tokens seen, one that brings the attribute's name to the
  slot's end, and a unit per attribute that passes on the average where that name is found;
* the digits' embeddings in a row along what those units write.

From random weights alone, most of the training goes by before the model tells one attribute from another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from transformers import LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaAttention

    from guided_refine.scoring.prompt import PromptPlan

EMBEDDING_SCALE = 0.1
_COPY = 0.8
_NEARNESS = 2.0
_MEAN_SHRINK = 10.0
_NOISE = 0.3
_AVERAGE_GAIN, _NAME_GAIN = 2.0, 1.5
_GATE, _WRITE, _DIGIT = 3.0, 0.5, 0.15


@dataclass(frozen=True)
class Layout:
    """Which dimensions hold what: `label` and `name` of a token; `average` and `asked` at a slot; `value`; the rest.

    `code` (attributes, channels) has a unit row per attribute: its own channel where there are enough.
    """

    width: int
    code: np.ndarray

    @property
    def channels(self) -> int:
        """Dimensions of each of the four parts."""
        return self.code.shape[1]

    def part(self, number: int) -> slice:
        """Dimensions of part 0 label, 1 name, 2 average, 3 asked."""
        return slice(number * self.channels, (number + 1) * self.channels)

    @property
    def value(self) -> int:
        """The dimension along which digits lie."""
        return 4 * self.channels

    @property
    def company(self) -> slice:
        """All other dimensions."""
        return slice(self.value + 1, self.width)


def make_layout(width: int, attributes: int, seed: int) -> Layout:
    """Lay out `width` dimensions for so many attributes; with more attributes than channels their codes overlap.

    >>> layout = make_layout(128, 10, seed=0)
    >>> layout.part(0), layout.value, layout.company
    (slice(0, 10, None), 40, slice(41, 128, None))
    """
    # A head carries one part and is at least this wide.
    channels = max(1, min(attributes, width // 8, 32))
    if attributes <= channels:
        return Layout(width, np.eye(attributes, channels))
    code = np.random.default_rng([seed, attributes]).standard_normal((attributes, channels))
    return Layout(width, code / np.linalg.norm(code, axis=1, keepdims=True))


def start_weights(
    model: LlamaForCausalLM,
    plans: Sequence[PromptPlan],
    texts: Sequence[Sequence[int]],
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int,
) -> None:
    """Write the start values into a freshly made `model`.

    `texts` are token ids; `labels` (texts, attributes) in [0, 1]; `groups` (vocabulary,) joins tokens that are forms of
    one word (`Dark` and ` dark`), so that rare forms start where common ones do.
    """
    layout = make_layout(model.config.hidden_size, labels.shape[1], seed)
    table = _embeddings(layout, plans, texts, labels, groups, seed)
    heads = int(model.config.num_attention_heads)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.from_numpy(EMBEDDING_SCALE * table))
        for layer in model.model.layers:
            _start_attention(layer.self_attn, heads, layout.width // heads)
            # Nothing random is written where the reading below takes place.
            for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
                projection.weight[: layout.value + 1] = 0
        _start_reading(model, layout, heads)


def _embeddings(
    layout: Layout,
    plans: Sequence[PromptPlan],
    texts: Sequence[Sequence[int]],
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Token embeddings, shape (vocabulary, width), about unit variance where they are not empty."""
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    rng = np.random.default_rng(seed)
    n_groups = int(groups.max()) + 1
    rows = np.repeat(np.arange(len(texts)), [len(t) for t in texts])
    columns = groups[np.concatenate([np.asarray(t, dtype=np.int64) for t in texts])]
    holds = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), n_groups))
    holds.sum_duplicates()
    holds.data[:] = 1.0
    counts = np.asarray(holds.sum(axis=0)).ravel()
    ppmi = _ppmi(holds, counts)
    room = layout.company.stop - layout.company.start
    places = max(1, min(room, min(ppmi.shape) - 1))
    left, strength, _ = randomized_svd(ppmi, n_components=places, random_state=seed)
    company = _scaled(left * np.sqrt(strength))[:, :room]
    # Mean label of the texts that hold a token, drawn towards the middle where they are few.
    mean = (holds.T @ (labels - 0.5)) / (counts + _MEAN_SHRINK)[:, None]
    table = np.zeros((len(groups), layout.width))
    table[:, layout.part(0)] = (_scaled(mean) @ layout.code)[groups]
    table[:, layout.company] = _NOISE * rng.standard_normal((len(groups), room))
    table[:, layout.company][:, : company.shape[1]] += company[groups]
    for plan in plans:
        used = Counter(token for slot in plan.slots for token in set(slot))
        for attribute, slot in enumerate(plan.slots):
            for token in set(slot):
                # Tokens that several names share say nothing about which is asked for.
                if used[token] == 1:
                    table[token, layout.part(1)] = 4 * layout.code[attribute]
    for digit, token in enumerate(plans[0].digits):
        table[token] = 0
        table[token, layout.value] = _DIGIT / EMBEDDING_SCALE * (digit - 4)
    return table


def _start_attention(attention: LlamaAttention, heads: int, width: int) -> None:
    attention.o_proj.weight.mul_((1 - _COPY**2) ** 0.5).add_(_COPY * attention.v_proj.weight.T)
    for head in range(heads - heads // 2, heads):
        # Equal biases of queries and keys, turned by rotary positions, make a preference for what is near.
        pairs = slice(head * width + width // 16, head * width + max(1, width // 4))
        for projection in (attention.q_proj, attention.k_proj):
            projection.bias[pairs] = _NEARNESS


def _start_reading(model: LlamaForCausalLM, layout: Layout, heads: int) -> None:
    """The first layer's two heads and its units; needs two heads, each of at least `channels` dimensions."""
    layer, width, k = model.model.layers[0], layout.width // heads, layout.channels
    for head, source, target, gain in ((0, 0, 2, _AVERAGE_GAIN), (heads - 1, 1, 3, _NAME_GAIN)):
        rows = slice(head * width, (head + 1) * width)
        layer.self_attn.v_proj.weight[rows] = 0
        layer.self_attn.o_proj.weight[:, rows] = 0
        places = slice(head * width, head * width + k)
        layer.self_attn.v_proj.weight[places, layout.part(source)] = torch.eye(k)
        layer.self_attn.o_proj.weight[layout.part(target), places] = gain * torch.eye(k)
    # The averaging head looks at everything alike.
    layer.self_attn.q_proj.weight[:width] *= 0.1
    code = torch.from_numpy(layout.code).float()
    units = slice(0, min(len(code), layer.mlp.gate_proj.weight.shape[0]))
    code = code[units]
    for projection, part, gain in ((layer.mlp.gate_proj, 3, _GATE), (layer.mlp.up_proj, 2, 1.0)):
        projection.weight[units] = 0
        projection.weight[units, layout.part(part)] = gain * code
    layer.mlp.down_proj.weight[:, units] = 0
    layer.mlp.down_proj.weight[layout.value, units] = _WRITE


def _ppmi(holds: csr_matrix, counts: np.ndarray) -> csr_matrix:
    together = (holds.T @ holds).tocoo()
    expected = counts[together.row] * counts[together.col] / holds.shape[0]
    together.data = np.maximum(0.0, np.log(np.maximum(together.data, 1e-9) / np.maximum(expected, 1e-9)))
    # Tokens met once or twice would have the largest values of all.
    together.data[np.minimum(counts[together.row], counts[together.col]) < 3] = 0.0
    ppmi = together.tocsr()
    ppmi.eliminate_zeros()
    return ppmi


def _scaled(table: np.ndarray) -> np.ndarray:
    return table / max(float(table.std()), 1e-9)
