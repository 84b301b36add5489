"""The dashboard: `guided-refine app RUN`. Reads the run folder and nothing else; holds no language model.

This file picks the page; every page is a file in `views`; what pages share is in `dashboard_ui.py`.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import dashboard_ui as ui  # noqa: E402 (found only once the folder is on the path)
import streamlit as st  # noqa: E402

from guided_refine.errors import InputError  # noqa: E402

st.set_page_config(page_title="guided-refine", page_icon=":material/explore:", layout="wide")
# Streamlit leaves a hand's breadth of nothing above every page.
st.html("<style>[data-testid=stMainBlockContainer] { padding-top: 3rem; padding-bottom: 2rem; }</style>")

pages = [
    st.Page(HERE / "views" / "overview.py", title="Overview", icon=":material/leaderboard:", default=True),
    st.Page(HERE / "views" / "recommendations.py", title="Recommendations", icon=":material/recommend:"),
    st.Page(HERE / "views" / "items.py", title="Items", icon=":material/inventory_2:"),
    st.Page(HERE / "views" / "attributes.py", title="Attributes", icon=":material/tune:"),
]
page = st.navigation(pages)

try:
    ui.sidebar(ui.run_folder())
    page.run()
except InputError as error:
    st.error(ui.plain(str(error)), icon=":material/error:")
