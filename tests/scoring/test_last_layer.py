"""Rows that nobody looks at are left out, and those that somebody looks at are as ever."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_model

from guided_refine.scoring.last_layer import only_rows

FAMILIES = ["llama", "qwen3", "gpt2", "phi3", "mistral", "gpt_neox", "gemma2", "granite", "cohere"]


@pytest.mark.parametrize("family", FAMILIES)
def test_wanted_rows_are_those_of_the_whole(family: str) -> None:
    decoder = tiny_model(family, 64).base_model
    ids = torch.randint(0, 64, (3, 7), generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([2, 3, 13, 20])
    read: list[int] = []
    layers = decoder.h if family == "gpt2" else decoder.layers
    with torch.no_grad():
        whole = decoder(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
        with only_rows(decoder, rows, ids.shape):
            watch = layers[-1].mlp.register_forward_pre_hook(lambda m, x: read.append(x[0].shape[1]))
            some = decoder(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
            watch.remove()
        after = decoder(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
    assert read == [len(rows)]
    torch.testing.assert_close(some[rows], whole[rows], atol=1e-5, rtol=1e-5)
    others = torch.ones(len(whole), dtype=torch.bool).index_fill(0, rows, False)
    assert not torch.allclose(some[others], whole[others], atol=1e-3)
    assert torch.equal(after, whole)


def test_a_layer_without_such_a_part_is_left_alone() -> None:
    plain = torch.nn.Linear(4, 4)
    x = torch.randn(2, 3, 4)
    with only_rows(plain, torch.tensor([1]), x.shape[:2]):
        inside = plain(x)
    assert torch.equal(inside, plain(x))


class Part(torch.nn.Module):
    """A feed-forward part that also hands on something else."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = torch.nn.Linear(4, 4)

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, str]:
        return self.plain(states), "which experts"


class Layer(torch.nn.Module):
    """Calls its part in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.mlp = how, Part()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "rows in one":
            return self.mlp(x.flatten(0, 1))[0].view(x.shape)
        return self.mlp(states=x)[0] if self.how == "by name" else self.mlp(x)[0]


@pytest.mark.parametrize("how", ["rows in one", "by name", "with something else"])
def test_parts_that_are_called_otherwise_are_right_too(how: str) -> None:
    decoder = torch.nn.Module()
    decoder.layers = torch.nn.ModuleList([Layer(how)])
    x, rows = torch.randn(2, 3, 4), torch.tensor([1, 4])
    with torch.no_grad():
        with only_rows(decoder, rows, x.shape[:2]):
            inside = decoder.layers[0](x)
        outside = decoder.layers[0](x)
    torch.testing.assert_close(inside.flatten(0, 1)[rows], outside.flatten(0, 1)[rows])
    assert torch.equal(inside, outside) == (how != "with something else")
