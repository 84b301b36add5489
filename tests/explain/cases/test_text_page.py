"""Markdown: complete, and no title breaks a table, becomes a link or runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from guided_refine.explain.cases.glossary import GLOSSARY
from guided_refine.explain.cases.text_page import case_markdown, mark
from guided_refine.explain.encoder_answer import strongest
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.export import case_study
from guided_refine.runfolder import RunFolder


@pytest.fixture(scope="module")
def case(finished: RunFolder) -> dict[str, Any]:
    return case_study(Explainer.open(finished.root), "u1", item="i3", k=30)


def test_titles_stay_text(case: dict[str, Any]) -> None:
    text = case_markdown(case)
    assert "<script>" not in text
    assert not re.search(r"(?<!\\)\]\(", text), "a title became a link"
    assert mark("<script>alert('x')") in text


def test_every_table_has_as_many_cells_in_each_row(case: dict[str, Any]) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", case_markdown(case), re.MULTILINE)
    assert len(tables) >= 4
    for table in tables:
        cells = {line.replace("\\|", "").count("|") for line in table.splitlines()}
        assert len(cells) == 1, table


def test_it_holds_every_part_and_every_sentence(case: dict[str, Any]) -> None:
    text = case_markdown(case)
    for item in case["recommendations"]:
        assert all(f"{part['value']:+.3f} ({part['lift']:+.3f})" in text for part in item["parts"])
        assert mark(item["reason"]) in text and mark(f"[{item['item_id']}]") in text
    said = [*case["summary"], case["confidence"]["sentence"], case["trial"]["sentence"]]
    said += [change["sentence"] for change in case["counterfactuals"]["changes"]]
    said += [item["sentence"] for item in case["moved"]["came"]]
    view = case["through_encoder"]
    said += [*view["sentences"], *(event["title"] for event in strongest(view["events"]))]
    assert all(mark(one) in text for one in said)
    assert all(f"{part['value']:+.3f} | {part['direct']:+.3f}" in text for part in view["attributes"])
    assert case["provenance"]["split_sha256"][:16] in text
    assert all(mark(meaning) in text for _, meaning in GLOSSARY)
