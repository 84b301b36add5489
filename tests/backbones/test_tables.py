"""Item tables: which row an item number reads."""

from __future__ import annotations

import pytest
import torch

from guided_refine.backbones.tables import IdTable, ItemTable, VectorTable


@pytest.mark.parametrize("table", [IdTable(5, 4), VectorTable(torch.randn(5, 4))], ids=["ids", "vectors"])
def test_lookup_gives_each_item_its_row_and_padding_zeros(table: ItemTable) -> None:
    vectors = table.matrix()
    found = table.lookup(torch.tensor([[0, 1, 5], [3, 0, 2]]))
    zeros = torch.zeros(4)
    assert torch.equal(found[0], torch.stack([zeros, vectors[0], vectors[4]]))
    assert torch.equal(found[1], torch.stack([vectors[2], zeros, vectors[1]]))
