"""`guided-refine app RUN`: open the dashboard on a run folder.

The dashboard is a Streamlit app in the folder `apps`. It runs in a process of its own, listens on this machine only,
and reads nothing but the run folder.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from pathlib import Path

from guided_refine.errors import InputError
from guided_refine.reporting.palette import BLACK, BLUE, GREEN, PALE, SKY, VERMILION
from guided_refine.resources import resource_folder
from guided_refine.runfolder import RunFolder

HOST = "localhost"
DARK_PAGE = "#12151b"
"""What a dark page is painted with, which the charts on it have to know."""


def serve(run: Path | str, *, port: int = 8501, headless: bool = False) -> int:
    """Serve the dashboard until it is stopped (Ctrl-C); returns the exit code of Streamlit.

    `headless`: do not open a browser. Raises `InputError` when the folder is no run or the port is taken.
    """
    folder = RunFolder(run)
    folder.config()
    folder.manifest()
    check_port(port)
    # Every question is about one user: products so small that threads wait for each other longer than they compute.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    process = subprocess.Popen(command(folder.root.resolve(), port=port), env=environment)
    if not headless:
        threading.Thread(target=_open_browser, args=(process, port), daemon=True).start()
    if threading.current_thread() is threading.main_thread():
        # Stopping this command stops the server too, whoever stops it.
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        return 0
    finally:
        if process.poll() is None:
            process.kill()


def _open_browser(process: subprocess.Popen[bytes], port: int) -> None:
    """Open the page as soon as it answers; a machine without a browser still has the address on the screen."""
    address = f"http://{HOST}:{port}"
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            webbrowser.open(address)
            return


def command(run: Path, *, port: int) -> list[str]:
    """The command line that starts Streamlit on a run.

    Streamlit itself always runs headless: otherwise it offers those who look at recommendations to install its coding
    helpers.
    """
    options = {
        "server.address": HOST,
        "server.port": str(port),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "runner.magicEnabled": "false",
        # With a large run in memory it takes a tenth of a second after every click, and the page waits for it.
        "runner.postScriptGC": "false",
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        # Both are given, so the page is as the reader's system is, and can be switched in its menu.
        "theme.light.primaryColor": BLUE,
        "theme.light.textColor": BLACK,
        "theme.light.borderColor": PALE,
        "theme.light.greenColor": GREEN,
        "theme.light.redColor": VERMILION,
        "theme.dark.primaryColor": SKY,
        "theme.dark.textColor": PALE,
        "theme.dark.backgroundColor": DARK_PAGE,
        "theme.dark.secondaryBackgroundColor": "#1f242d",
        "theme.dark.greenColor": GREEN,
        "theme.dark.redColor": VERMILION,
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    app = resource_folder("apps") / "server.py"
    return [sys.executable, "-m", "streamlit", "run", str(app), *flags, "--", str(run)]


def check_port(port: int) -> None:
    """Raise `InputError` when nothing can listen on this port."""
    if not 1 <= port <= 65535:
        raise InputError(f"--port {port} is not a port; choose one from 1024 to 65535")
    for family, _, _, _, address in socket.getaddrinfo(HOST, port, type=socket.SOCK_STREAM):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # As the server does, so that a port that was closed a moment ago counts as free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue  # this machine has no IPv6
            raise InputError(
                f"port {port} is in use or not allowed ({error.strerror}); choose another with --port"
            ) from error
