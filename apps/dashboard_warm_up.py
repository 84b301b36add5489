"""Read what pages will ask for before anybody asks: the first page, then what each other page shows first.

A page that comes first waits for what is being read already; it never reads it twice.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable

import dashboard_answers as answers
import dashboard_compare as compare
import dashboard_data as data
from dashboard_people import Person

LOG = logging.getLogger("guided_refine.dashboard")
THREAD = "warm-up"
CALM = 2.5
"""Seconds without a click after which nobody waits for anything."""


class Visitors:
    """When somebody looked at a page last: who clicks now has the processor before what may be asked for later."""

    def __init__(self) -> None:
        self._last = 0.0

    def came(self) -> None:
        """Somebody looks at a page now."""
        self._last = time.monotonic()

    def wait_until_calm(self) -> None:
        """Return once nobody has clicked for a while."""
        while time.monotonic() - self._last < CALM:
            time.sleep(CALM / 10)


VISITORS = Visitors()


def warm_up() -> None:
    """Read it all, in the order of need. What cannot be read is left to the page that needs it, which says so in words."""
    # Streamlit warns of what would show a spinner where there is no page to show it on.
    spinners = logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context")
    spinners.addFilter(lambda record: record.threadName != THREAD)
    for step in (_first_page, _model):
        _try(step)
    for step in (_items, _cases, _comparison, _encoder):
        VISITORS.wait_until_calm()
        _try(step)


def _try(step: Callable[[], None]) -> None:
    try:
        step()
    except Exception:
        LOG.debug("%s was not read ahead", step.__name__, exc_info=True)
    # What is read stays: looking through it for garbage takes a tenth of a second, in the midst of some click.
    gc.freeze()


def _first_page() -> None:
    folder = data.run_folder()
    data.config_of(folder)
    answers.claims_of(folder)


def _model() -> None:
    folder = data.run_folder()
    if not data.has_refined(folder):
        return
    explainer = data.explainer_of(folder)
    k = answers.usual_length(explainer)
    person = Person.known(explainer, explainer.dataset.user_ids[0])
    answers.bands_of(folder)
    answers.answer_of(folder, person, k)
    answers.base_list_of(folder, person, k)
    data.catalog_of(folder)


def _items() -> None:
    folder = data.run_folder()
    data.catalog_of(folder)
    data.item_scores(folder)
    data.directions_of(folder)


def _cases() -> None:
    folder = data.run_folder()
    if not data.has_refined(folder):
        return
    explainer = data.explainer_of(folder)
    answers.moved_users(folder)
    first = answers.Case(explainer.dataset.user_ids[0], None, answers.usual_length(explainer))
    answers.case_page_of(folder, first)


def _comparison() -> None:
    folder = data.run_folder()
    runs = [compare.open_run(folder.root, "this run")]
    runs += [compare.open_run(path, path.name) for path in compare.first_beside(folder)]
    known = list(dict.fromkeys(m for run in runs for m in run.metrics))
    if len(runs) < 2 or not known:
        return
    metric = known[compare.usual(known)]
    compare.table(runs, metric)
    compare.differences(runs[0], runs[1], metric)


def _encoder() -> None:
    """The first view through the encoder takes seconds: what computes it is compiled then, once."""
    folder = data.run_folder()
    if not data.has_refined(folder):
        return
    explainer = data.explainer_of(folder)
    person = Person.known(explainer, explainer.dataset.user_ids[0])
    answer = answers.answer_of(folder, person, answers.usual_length(explainer))
    if answer["events"]:
        answers.encoded_of(folder, person, answer["recommendations"][0]["item_id"])
