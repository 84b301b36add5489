"""Is the process that claimed some texts still there? A killed one must not keep others waiting."""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path

_ENDED = "ended"


@dataclass(frozen=True)
class ProcessName:
    """A process so named that no other has the name, even after its number was given out again."""

    machine: str
    process: int
    started: str

    def is_gone(self) -> bool:
        """True when it certainly has ended; False also where this machine cannot know.

        >>> this_process().is_gone()
        False
        """
        if self.machine != _machine():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return _started(self.process) not in (self.started, "")


def this_process() -> ProcessName:
    """The name of this process."""
    return ProcessName(_machine(), os.getpid(), _started(os.getpid()))


@functools.cache
def _machine() -> str:
    """Host, boot and process namespace: containers of one host number their processes each on their own."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        pass  # not Linux: the host's name must do
    return " ".join(parts)


def _started(process: int) -> str:
    """When a process started, in the system's own ticks; nothing where the system does not tell."""
    try:
        # The second field, the program's name in brackets, may hold spaces.
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        # One that has ended keeps its number until whoever started it takes note.
        return _ENDED if fields[0] in ("Z", "X") else fields[19]
    except (OSError, IndexError, UnicodeDecodeError):
        return ""
