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


def test_states_in_another_shape_are_left_alone() -> None:
    class Layer(torch.nn.Module):
        """Hands its part the rows of a batch in one, as routers of experts do."""

        def __init__(self) -> None:
            super().__init__()
            self.mlp = torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mlp(x.flatten(0, 1)).view(x.shape)

    decoder = torch.nn.Module()
    decoder.layers = torch.nn.ModuleList([Layer()])
    x = torch.randn(2, 3, 4)
    with only_rows(decoder, torch.tensor([1]), x.shape[:2]):
        inside = decoder.layers[0](x)
    assert torch.equal(inside, decoder.layers[0](x))
