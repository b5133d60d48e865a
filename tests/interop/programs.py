"""Programs that a scenario starts and ends: OCM's from OCM_BIN, and fleetadm."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_END = 15.0  # seconds a program has to end in order


class Programs:
    """All processes of one scenario, each with its log; whatever still runs ends with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Starts one; its output goes to NAME.log."""
        assert name not in self._running, f"{name} runs already"
        with self.log(name).open("ab") as output:
            self._running[name] = subprocess.Popen(
                [str(word) for word in command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=self.directory,
                start_new_session=True,
            )

    def fleetadm(self, name: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> None:
        """Starts ours, as a user would."""
        self.start(name, Path(sys.executable).parent / "fleetadm", *arguments, env=env)

    def stop(self, name: str) -> None:
        """SIGTERM, and -9 to what does not hear it."""
        process = self._running.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    async def exit_code(self, name: str) -> int:
        """Waits for its end."""
        return await asyncio.to_thread(self._running.pop(name).wait, 60)

    def ended(self) -> dict[str, int]:
        """Those that ended by themselves, with their exit codes."""
        codes = {name: process.poll() for name, process in self._running.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def close(self) -> None:
        """Ends all, the last first."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for name in reversed(list(self._running)):
            self.stop(name)

    def log(self, name: str) -> Path:
        """Where its output goes."""
        return self.directory / f"{name}.log"

    def tails(self, lines: int = 15) -> str:
        """The end of every log, for the message of a test that failed."""
        texts = []
        for path in sorted(self.directory.glob("*.log")):
            said = [line[:400] for line in path.read_text(errors="replace").splitlines()]
            said = [line for line in said if line.startswith(("E", "W", "F", "panic")) or "our-" in path.name]
            texts.append(f"--- {path.name}\n" + "\n".join(said[-lines:]))
        return "\n".join(texts)
