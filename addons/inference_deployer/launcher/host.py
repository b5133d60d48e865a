"""The engine host: one process per node that has imported vLLM and forks an engine for whoever asks."""

from __future__ import annotations

import array
import fcntl
import json
import os
import selectors
import signal
import socket
import time
from typing import Any

from .arguments import option, with_option
from .compiled import variables
from .engine import die_with_parent, import_engine, reset_signals, run_child, serves_cpu
from .timeline import say

FDS = ("listener", "stdout", "stderr", "marks", "ready", "model")
MORE = ("compiled",)  # of launchers that carry compiled code


def host_lives(path: str) -> bool:
    """Whether a host holds the lock beside its socket, which it does from before its import to its end."""
    try:
        with open(path + ".lock", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def ask(connection: socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
    """Hand a host the request and what its engine works with. Raises OSError when it refuses."""
    request = {**request, "image": os.environ.get("ENGINE_IMAGE", "")}
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    data = json.dumps(request).encode() + b"\n"
    sent = connection.sendmsg([data], rights)
    connection.sendall(data[sent:])
    answer = json.loads(connection.makefile("rb").readline() or b"{}")
    if "pid" not in answer:
        raise OSError(answer.get("refused", "it closed the connection"))


class Host:
    """Forks an engine, already imported, for each launcher that connects."""

    def __init__(self, path: str, image: str) -> None:
        self.path, self.image = path, image
        self.children: dict[int, socket.socket] = {}
        self.wake_r, self.wake_w = os.pipe()
        os.set_blocking(self.wake_r, False)
        os.set_blocking(self.wake_w, False)
        self.selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Import, listen, fork; until SIGTERM, which ends the engines too."""
        before = time.time()
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.lock = open(self.path + ".lock", "w", encoding="ascii")  # noqa: SIM115 - for all our life
        fcntl.flock(self.lock, fcntl.LOCK_EX)  # one host at a time: the next waits for the last to end
        import_engine()
        if not serves_cpu():
            self.lock.close()
            say("the engine host serves CPU engines only; the engines of this node start cold")
            signal.sigwait({signal.SIGTERM, signal.SIGINT})
            return 0
        if (count := len(os.listdir("/proc/self/task"))) > 1:
            say(f"vLLM's import started {count - 1} threads, so its engines cannot be forked from here")
            return 1
        signal.set_wakeup_fd(self.wake_w)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        listener = self.listen()
        say(f"engine host ready after {time.time() - before:.1f} s on {self.path}")
        self.serve(listener)
        os.unlink(self.path)
        for pid in self.children:
            self.kill(pid, signal.SIGTERM)
        return 0

    def listen(self) -> socket.socket:
        """The socket appears only when it answers."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fresh = self.path + ".new"
        if os.path.exists(fresh):
            os.unlink(fresh)
        listener.bind(fresh)
        os.chmod(fresh, 0o600)
        listener.listen(64)
        os.rename(fresh, self.path)
        return listener

    def serve(self, listener: socket.socket) -> None:
        """Until SIGTERM."""
        self.selector.register(self.wake_r, selectors.EVENT_READ)
        self.selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == self.wake_r:
                    signals = os.read(self.wake_r, 64)
                    if signal.SIGTERM in signals or signal.SIGINT in signals:
                        return
                    self.reap()
                elif key.fileobj is listener:
                    self.accept(listener)
                else:
                    self.control(key.fileobj, key.data)  # type: ignore[arg-type]

    def accept(self, listener: socket.socket) -> None:
        """Read one request with its descriptors and fork its engine."""
        connection, _ = listener.accept()
        connection.settimeout(5)
        descriptors: list[int] = []
        try:
            space = socket.CMSG_LEN(len(FDS + MORE) * array.array("i").itemsize)
            data, ancillary, _, _ = connection.recvmsg(1 << 20, space)
            for _, _, raw in ancillary:
                descriptors += array.array("i", raw)
            while not data.endswith(b"\n"):
                piece = connection.recv(1 << 20)
                if not piece:
                    raise ValueError("the request ended early")
                data += piece
            request = json.loads(data)
            if len(descriptors) not in (len(FDS), len(FDS + MORE)):
                raise ValueError(f"expected {len(FDS)} descriptors, got {len(descriptors)}")
            if self.image and request["image"] and request["image"] != self.image:
                raise ValueError(f"this host runs {self.image}, not {request['image']}")
        except (OSError, ValueError, KeyError) as error:
            self.answer(connection, {"refused": str(error)})
            connection.close()
        else:
            pid = os.fork()
            if pid == 0:
                connection.close()
                self.child(request, dict(zip(FDS + MORE, descriptors, strict=False)), listener)
            self.children[pid] = connection
            connection.setblocking(False)
            self.selector.register(connection, selectors.EVENT_READ, pid)
            self.answer(connection, {"pid": pid})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def child(self, request: dict[str, Any], fds: dict[str, int], listener: socket.socket) -> None:
        """In the forked process: become the engine of that pod."""
        try:
            reset_signals()
            os.setsid()
            die_with_parent(signal.SIGKILL)
            self.selector.close()
            self.lock.close()
            listener.close()
            for connection in self.children.values():
                connection.close()
            os.dup2(fds["stdout"], 1)
            os.dup2(fds["stderr"], 2)
            # What the host's libraries were loaded with stays; all else is the pod's.
            own = {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS") or k == "LD_PRELOAD"}
            os.environ.clear()
            os.environ.update({**request["env"], **own})
            os.environ["USER_OMP_NUM_THREADS"] = request["env"].get("OMP_NUM_THREADS", "")
            # By our number, since compilers are processes of their own. Only inductor's lock files, which it
            # looks for by their real path, come to lie here: empty, and in nobody's way.
            if "compiled" in fds:
                os.environ.update(variables(f"/proc/{os.getpid()}/fd/{fds['compiled']}"))
            model = f"/proc/self/fd/{fds['model']}"
            arguments = request["arguments"]
            if option(arguments, "--served-model-name") is None:
                name = option(arguments, "--model") or "model"
                arguments = with_option(arguments, "--served-model-name", name)
            arguments = with_option(arguments, "--model", model)
            run_child(arguments, socket.socket(fileno=fds["listener"]), fds["marks"], fds["ready"])
        finally:
            os._exit(1)

    def control(self, connection: socket.socket, pid: int) -> None:
        """A launcher relays a signal, or is gone: then its engine goes too."""
        try:
            data = connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(connection)
            self.kill(pid, signal.SIGKILL)
            return
        for line in data.splitlines():
            number = int(json.loads(line)["signal"])
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill(self, pid: int, number: int) -> None:
        try:
            os.killpg(pid, number)  # the engine core is in its group
        except ProcessLookupError:
            pass

    def reap(self) -> None:
        """Tell each launcher how its engine ended."""
        while self.children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.kill(pid, signal.SIGKILL)
            connection = self.children.pop(pid)
            if connection in self.selector.get_map():
                self.selector.unregister(connection)
            self.answer(connection, {"exit": os.waitstatus_to_exitcode(status)})
            connection.close()

    @staticmethod
    def answer(connection: socket.socket, message: dict[str, object]) -> None:
        try:
            connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass
