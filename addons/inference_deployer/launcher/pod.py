"""The launcher's side: small, in the pod; starts the engine one way or another, then watches over it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable

from .arguments import option
from .arriving import BEGIN, COMPLETE
from .cluster import in_cluster, patch_pod, wait_for_dataload
from .compiled import Compiled, key_of, variables
from .engine import RELAYED, die_with_parent, import_engine, reset_signals, run_child
from .host import ask, host_lives
from .timeline import Timeline, marks_in, say

HOST_WAIT = 60.0
STOP = {signal.SIGTERM, signal.SIGINT}


class Launcher:
    """One pod's launcher: starts the engine one way or another, then watches over it."""

    def __init__(self, mode: str, arguments: list[str]) -> None:
        self.mode, self.arguments = mode, arguments
        self.host = option(arguments, "--host") or "0.0.0.0"
        self.port = int(option(arguments, "--port") or 8000)
        self.marks_r, self.marks_w = os.pipe()
        self.ready_r, self.ready_w = os.pipe()
        self.reading = ""  # of which version the engine reads weights while others are still to come
        self.wake_r, self.wake_w = os.pipe()
        os.set_blocking(self.wake_w, False)
        self.pid = 0  # of our child; the engine host's child is not ours
        self.connection: socket.socket | None = None
        self.timeline = Timeline(mode)
        self.compiled: Compiled | None = None
        if carried := os.environ.get("COMPILED"):
            try:
                self.compiled = Compiled(carried)
                os.environ.update(variables(str(self.compiled.private)))
            except OSError as error:
                say(f"compiled code is not carried: {error}")

    def run(self) -> int:
        """Start the engine and return its exit status."""
        try:
            return self.start()
        finally:
            if self.compiled:
                self.compiled.remove()

    def start(self) -> int:
        signal.set_wakeup_fd(self.wake_w, warn_on_full_buffer=False)
        for number in (*RELAYED, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        if self.mode == "stock":
            return self.run_stock()
        listener = self.listen()
        if self.connect_host(listener):
            self.timeline.mark(mode="warm")
        else:
            self.timeline.mark(mode="cold")
            self.fork_cold(listener)
        listener.close()
        os.close(self.marks_w)
        os.close(self.ready_r)
        self.start_threads()
        return self.watch()

    def listen(self) -> socket.socket:
        """Bind the pod's port here, so that a process of another namespace can serve it."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        self.port = listener.getsockname()[1]
        return listener

    def connect_host(self, listener: socket.socket) -> bool:
        """Ask the node's engine host for an engine; False when there is none or it refuses."""
        path, model = os.environ.get("ENGINE_HOST_SOCKET", ""), option(self.arguments, "--model") or ""
        if not path:
            return False
        if not os.path.isdir(model):
            raise SystemExit(f"the model directory {model!r} does not exist; is the volume mounted there?")
        connection = self.reach_host(path)
        if connection is None:
            return False
        shown = [model, *([str(self.compiled.private)] if self.compiled else [])]
        directories = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in shown]
        try:
            fds = [listener.fileno(), 1, 2, self.marks_w, self.ready_r, *directories]
            ask(connection, {"arguments": self.arguments, "env": dict(os.environ)}, fds)
        except (OSError, ValueError) as error:
            say(f"no warm start from the engine host at {path}: {error}")
            connection.close()
            return False
        finally:
            for directory in directories:
                os.close(directory)
        connection.settimeout(None)
        self.connection = connection
        return True

    def reach_host(self, path: str) -> socket.socket | None:
        """A connection to the host. One that is still importing is waited for: it has a head start on us."""
        deadline = time.monotonic() + HOST_WAIT
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(5)
            try:
                connection.connect(path)
                return connection
            except OSError:
                connection.close()
            if not host_lives(path) or time.monotonic() > deadline:
                return None
            if self.stopped_within(0.05):
                raise SystemExit(128 + signal.SIGTERM)

    def stopped_within(self, seconds: float) -> bool:
        """Whether we are asked to stop in this time."""
        ready, _, _ = select.select([self.wake_r], [], [], seconds)
        return bool(ready) and bool(STOP & set(os.read(self.wake_r, 64)))

    def fork_cold(self, listener: socket.socket) -> None:
        """Fork before any thread exists; the child imports vLLM."""
        self.pid = os.fork()
        if self.pid:
            return
        reset_signals()
        die_with_parent(signal.SIGKILL)
        for fd in (self.marks_r, self.ready_w, self.wake_r, self.wake_w):
            os.close(fd)
        try:
            import_engine()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        run_child(self.arguments, listener, self.marks_w, self.ready_r)

    def run_stock(self) -> int:
        """vLLM as it comes, once the data is there; its output is passed through and read for marks."""
        self.start_threads()
        if not self.wait_for_release():
            return 128 + signal.SIGTERM
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *self.arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.pid = process.pid
        os.close(self.marks_w)

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
                if marks := marks_in(line.decode(errors="replace")):
                    if "weights_start" in marks:  # until here all three of its processes have imported
                        marks["imported"] = marks["weights_start"]
                    self.timeline.mark(**marks)

        threading.Thread(target=read, daemon=True).start()
        return self.watch()

    def wait_for_release(self) -> bool:
        """Return True once the data is there, False when asked to stop before that."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.wake_r, selectors.EVENT_READ)
            selector.register(self.ready_r, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self.wake_r in ready and STOP & set(os.read(self.wake_r, 64)):
                    return False
                if self.ready_r in ready:
                    return True

    def release(self, said: bytes) -> None:
        """The data is there, or as much as it begins with: let the engine go on."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.ready_w, said)

    def carry(self, step: Callable[[Compiled], None]) -> None:
        """A step with compiled code, if there is any; whatever goes wrong, the engine can do without."""
        if self.compiled:
            try:
                step(self.compiled)
            except Exception as error:
                say(f"compiled code is not carried: {error!r}")

    def start_threads(self) -> None:
        """Data, timeline and readiness are watched beside the engine; never before a fork."""
        namespace, pod = os.environ.get("POD_NAMESPACE", "default"), os.environ.get("POD_NAME", "")

        def bring(compiled: Compiled) -> None:
            model = option(self.arguments, "--model") or ""
            compiled.bring(key_of(model, self.arguments, os.environ, compiled.machine))

        def keep(compiled: Compiled) -> None:
            if carried := compiled.keep():
                self.timeline.mark(compiled=carried)

        def begin(version: str) -> None:
            if not self.reading and self.mode == "shared":
                self.carry(bring)  # only now: it depends on the model's files
                self.reading = version
                self.release(BEGIN)

        def data() -> None:
            self.carry(Compiled.look)
            version = ""
            if wanted := os.environ.get("WAIT_FOR_DATALOAD"):
                place, _, name = wanted.rpartition("/")
                version = wait_for_dataload(place or namespace, name, begin)
            if self.reading not in ("", version):
                say("the model at its source has changed while its weights were read; this starts anew")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self.timeline.mark(data_ready=time.time())
            if not self.reading:
                self.carry(bring)
            self.reading = ""
            self.release(COMPLETE)

        def publish() -> None:
            if pod and in_cluster():
                self.timeline.publish(lambda annotations: patch_pod(namespace, pod, annotations))

        def readiness() -> None:
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
            while True:
                connection = http.client.HTTPConnection(host, self.port, timeout=5)
                try:
                    connection.request("GET", "/health")
                    if connection.getresponse().status == 200:
                        self.timeline.mark(serving=time.time())
                        break
                except (OSError, http.client.HTTPException):
                    pass
                finally:
                    connection.close()
                time.sleep(0.05)
            self.carry(keep)

        for target in (data, readiness, publish):
            threading.Thread(target=target, daemon=True).start()

    def watch(self) -> int:
        """Relay signals and marks until the engine ends."""
        selector = selectors.DefaultSelector()
        selector.register(self.wake_r, selectors.EVENT_READ)
        selector.register(self.marks_r, selectors.EVENT_READ)
        if self.connection is not None:
            selector.register(self.connection, selectors.EVENT_READ)
        rest = b""
        while True:
            for key, _ in selector.select():
                if key.fileobj is self.connection:
                    line = self.connection.recv(4096)
                    code = json.loads(line.splitlines()[-1])["exit"] if line else 1
                    if not line:
                        say("the engine host is gone, and this engine with it")
                    return code if code >= 0 else 128 - code
                data = os.read(int(key.fd), 65536)
                if key.fd == self.wake_r:
                    status = self.signalled(data)
                    if status is not None:
                        return status
                elif not data:
                    selector.unregister(self.marks_r)
                else:
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self.timeline.mark(**json.loads(line))

    def signalled(self, numbers: bytes) -> int | None:
        """Pass signals on; the exit status once our child has ended."""
        for number in numbers:
            if number == signal.SIGCHLD:
                continue
            if number in STOP and self.reading:  # it hears nothing else before it has read all
                number = signal.SIGKILL
            if self.connection is not None:
                self.connection.sendall(json.dumps({"signal": number}).encode() + b"\n")
            elif self.pid:
                os.kill(self.pid, number)
        if self.pid and signal.SIGCHLD in numbers:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        return None
