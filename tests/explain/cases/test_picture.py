"""The picture: of some size, full, the same each time, whatever the lists and titles are."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from guided_refine.explain.cases.picture import case_picture
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.export import case_study
from guided_refine.runfolder import RunFolder


@pytest.fixture(scope="module")
def explainer(finished: RunFolder) -> Explainer:
    return Explainer.open(finished.root)


def pixels(case: dict[str, Any]) -> np.ndarray:
    return np.asarray(imread(io.BytesIO(case_picture(case))))[..., :3]


def test_it_is_full_and_the_same_each_time(explainer: Explainer) -> None:
    case = case_study(explainer, "u1", item="i3")
    picture = pixels(case)
    assert picture.shape[0] > 800 and picture.shape[1] > 1200
    assert picture.std() > 0.05
    assert case_picture(case) == case_picture(case)
    # Something is drawn in every eighth of its height, and nothing reaches its right edge.
    assert all((band < 0.5).any() for band in np.array_split(picture, 8))
    assert (picture[:, -2:] > 0.9).all()


def test_long_lists_and_titles_and_no_base_are_drawn_too(explainer: Explainer) -> None:
    case = case_study(explainer, "u1", k=30)
    for item in case["recommendations"] + case["history"] + case["base"]:
        item["title"] = "A title that does not end " * 40
    assert (pixels(case)[:, -2:] > 0.9).all()
    case = case_study(explainer, "u1", k=1) | {"base": None, "moved": None}
    case["recommendations"][0]["base_rank"] = None
    assert pixels(case).std() > 0.03
