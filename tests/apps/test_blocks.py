"""Words of a page that are HTML: what comes from outside is text, and each piece is well-formed."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import pytest
from tiny_run import EVIL

from guided_refine.resources import resource_folder

sys.path.insert(0, str(resource_folder("apps")))
import dashboard_blocks as blocks


@pytest.mark.parametrize("kind", ["heading", "strong", "says", "note"])
def test_words_from_outside_are_text(kind: str) -> None:
    piece = ElementTree.fromstring(getattr(blocks, kind)(EVIL))
    assert piece.text == EVIL and not len(piece)


def test_pieces_stand_beside_each_other_and_in_boxes() -> None:
    piece = blocks.beside(blocks.says("left"), blocks.boxed(blocks.note("right")), shares=(2, 3))
    root = ElementTree.fromstring(piece)
    assert [child.tag for child in root] == ["div", "div"]
    assert "".join(root.itertext()) == "leftright"
    assert root[1][0].get("tabindex") == "0", "a box that scrolls can be reached by keyboard"
