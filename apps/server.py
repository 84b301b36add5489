"""What `guided-refine app` serves: the pages of `app.py`, and what they need read while the browser is on its way."""

import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from streamlit.starlette import App  # noqa: E402


def _prepare() -> None:
    # Imported here, off the thread that serves: this alone takes a second.
    from dashboard_warm_up import THREAD, warm_up

    threading.current_thread().name = THREAD
    warm_up()


@asynccontextmanager
async def prepared(_: App) -> AsyncIterator[None]:
    """Begin to read as soon as the server listens; nobody has to wait for it."""
    threading.Thread(target=_prepare, daemon=True).start()
    yield


app = App(HERE / "app.py", lifespan=prepared)
