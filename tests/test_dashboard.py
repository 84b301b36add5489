"""Starting the dashboard: what is refused before a server is started, and how it is started."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from guided_refine.cli import main
from guided_refine.config_file import parse_config
from guided_refine.dashboard import check_port, command, serve
from guided_refine.errors import InputError
from guided_refine.runfolder import RunFolder


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", str(tmp_path), "--headless"]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_a_port_in_use_is_refused_and_a_free_one_is_not(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open(parse_config({"name": "x"}), update=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is in use.*--port"):
            serve(folder.root, port=port, headless=True)
    check_port(port)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_number_that_is_no_port(port: int) -> None:
    with pytest.raises(InputError, match="is not a port"):
        check_port(port)


def test_the_server_listens_on_this_machine_only_and_reports_nothing(tmp_path: Path) -> None:
    line = command(tmp_path, port=8765)
    assert line[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert Path(line[4]).name == "server.py" and Path(line[4]).is_file()
    options = dict(zip(line[5 : line.index("--")][::2], line[5 : line.index("--")][1::2], strict=True))
    assert options["--server.address"] == "localhost"
    assert options["--server.port"] == "8765"
    assert options["--browser.gatherUsageStats"] == "false"
    assert options["--client.showErrorDetails"] == "none"
    assert options["--runner.postScriptGC"] == "false", "each click would wait for it"
    assert options["--server.headless"] == "true", "else it advertises its own tools to whoever looks"
    assert line[-2:] == ["--", str(tmp_path)]
