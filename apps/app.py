"""The dashboard: `guided-refine app RUN`. Reads the run folder and nothing else; holds no language model.

This file picks the page; every page is a file in `views`; what pages share is in the modules beside this one.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import dashboard_bars as bars  # noqa: E402 (found only once the folder is on the path)
import dashboard_data as data  # noqa: E402
import dashboard_ui as ui  # noqa: E402
import dashboard_warm_up  # noqa: E402
import streamlit as st  # noqa: E402

dashboard_warm_up.VISITORS.came()
st.set_page_config(page_title="guided-refine", page_icon=str(HERE / "icon.svg"), layout="wide")
# Streamlit leaves a hand's breadth of nothing above every page, and half of a phone's width beside it.
NARROWER = (
    "[data-testid=stMainBlockContainer] { padding-top: 3rem; padding-bottom: 2rem; }"
    " h1, h2, h3, [data-testid=stText] { overflow-wrap: anywhere; }"
    " @media (max-width: 640px) { [data-testid=stMainBlockContainer] { padding-left: 1rem; padding-right: 1rem; }"
    " h1 { font-size: 1.9rem !important; } h3 { font-size: 1.3rem !important; } }"
)
st.html(f"<style>{bars.style()} {NARROWER}</style>")

VIEWS = HERE / "views"
pages = [
    st.Page(VIEWS / "overview.py", title="Overview", icon=":material/leaderboard:", default=True),
    st.Page(VIEWS / "recommendations.py", title="Recommendations", icon=":material/recommend:"),
    st.Page(VIEWS / "items.py", title="Items", icon=":material/inventory_2:"),
    st.Page(VIEWS / "attributes.py", title="Attributes", icon=":material/tune:"),
    st.Page(VIEWS / "compare.py", title="Compare runs", icon=":material/compare_arrows:"),
    st.Page(VIEWS / "cases.py", title="Case studies", icon=":material/person_search:"),
]
page = st.navigation(pages)

with ui.in_words():
    ui.sidebar(data.run_folder())
    page.run()
