#!/usr/bin/env python3
"""Starts vLLM in its own stock image with one import instead of three, or with none.

One file, standard library and vLLM only, mounted from a ConfigMap. Usage:

    launcher.py [--mode shared|stock] -- <arguments of vLLM's OpenAI server>
    launcher.py --mode host

The launcher's own process stays small: it binds the port, watches the DataLoad, relays signals and the exit
status, and reports a timeline as an annotation of its Pod. The engine is its child:

shared  The child is forked by the node's engine host when there is one (warm), else from here (cold). Cold, it
        imports vLLM while the data is still being loaded. Weights are read only once the DataLoad is complete.
        API server and engine core are vLLM's own code; the core is forked from the API server, so that
        nothing is imported twice (stock vLLM imports everything three times on a CPU).
stock   vLLM as it comes, for comparison.
host    The engine host: has imported vLLM, started no thread, and forks an engine for each launcher that asks.
        It gets the pod's listening socket, standard streams and model directory as file descriptors, so it
        needs neither the pod's network namespace nor its mounts.

Environment: POD_NAME, POD_NAMESPACE, WAIT_FOR_DATALOAD=<namespace>/<name>, ENGINE_HOST_SOCKET, ENGINE_IMAGE.
"""

from __future__ import annotations

import array
import ctypes
import gc
import http.client
import importlib
import json
import logging
import os
import re
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import warnings

STARTED = time.time()
ANNOTATION = "inference.boundaryless.io/timeline"
ACCOUNT = os.environ.get("SERVICE_ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount")
LOADED = re.compile(r"Loading weights took ([0-9.]+) seconds")
LOADING = "Starting to load model"
RELAYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
FDS = ("listener", "stdout", "stderr", "marks", "ready", "model")
# Imported late by vLLM, on the way to the first answer: worth having before the fork.
EARLY = (
    "uvloop",
    "httptools",
    "vllm.entrypoints.openai.api_server",
    "vllm.engine.arg_utils",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
    "vllm.v1.executor.uniproc_executor",
    "vllm.v1.structured_output",
    "vllm.model_executor.model_loader.default_loader",
    "vllm.model_executor.layers.quantization.online.base",
    "vllm.utils.cpu_triton_utils",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.configuration_llama",
    "vllm.model_executor.models.llama",
    "model_hosting_container_standards.sagemaker",
)


def say(message: str) -> None:
    """Write one line for people; also for `kubectl logs`."""
    sys.stderr.write(f"launcher: {message}\n")
    sys.stderr.flush()


def option(arguments: list[str], name: str, default: str | None = None) -> str | None:
    """The value of --name in a vLLM command line, in either spelling."""
    value = default
    for i, argument in enumerate(arguments):
        if argument == name and i + 1 < len(arguments):
            value = arguments[i + 1]
        elif argument.startswith(name + "="):
            value = argument[len(name) + 1 :]
    return value


def with_option(arguments: list[str], name: str, value: str) -> list[str]:
    """The same command line with --name set to a value."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == name:
            skip = True
        elif not argument.startswith(name + "="):
            kept.append(argument)
    return [*kept, name, value]


class Kubernetes:
    """The few calls to the API server that a pod needs, with its service account."""

    def connect(self) -> tuple[http.client.HTTPSConnection, dict[str, str]]:
        """Open a connection; the token is read anew, because kubelet rotates it."""
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        with open(f"{ACCOUNT}/token", encoding="utf-8") as file:
            token = file.read().strip()
        context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
        connection = http.client.HTTPSConnection(host, port, context=context, timeout=60)
        return connection, {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def patch_pod(self, namespace: str, name: str, annotations: dict[str, str]) -> None:
        """Merge annotations into a pod."""
        connection, headers = self.connect()
        headers["Content-Type"] = "application/merge-patch+json"
        body = json.dumps({"metadata": {"annotations": annotations}})
        try:
            connection.request("PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise OSError(f"PATCH pod {namespace}/{name}: HTTP {answer.status} {text[:200]!r}")
        finally:
            connection.close()

    def wait_for_dataload(self, namespace: str, name: str) -> None:
        """Return once the DataLoad is complete; follow it by watch, through any interruption."""
        base = f"/apis/data.fluid.io/v1alpha1/namespaces/{namespace}/dataloads?"
        said, pause = "", 0.1
        while True:
            try:
                connection, headers = self.connect()
                query = {
                    "fieldSelector": f"metadata.name={name}",
                    "watch": "true",
                    "timeoutSeconds": "50",
                }
                connection.request("GET", base + urllib.parse.urlencode(query), headers=headers)
                answer = connection.getresponse()
                if answer.status >= 300:
                    raise OSError(f"HTTP {answer.status} {answer.read(200)!r}")
                while line := answer.readline():
                    pause = 0.1
                    event = json.loads(line)
                    status = event.get("object", {}).get("status") or {}
                    phase = str(status.get("phase", ""))
                    if event.get("type") in ("ADDED", "MODIFIED") and phase == "Complete":
                        return
                    if phase == "Failed" and said != phase:
                        say(f"DataLoad {namespace}/{name} failed; waiting until it is repeated")
                    said = phase
            except (OSError, http.client.HTTPException, ValueError) as error:
                if str(error) != said:
                    said = str(error)
                    say(f"cannot watch DataLoad {namespace}/{name}, trying again: {error}")
            time.sleep(pause)
            pause = min(2.0, pause * 2)


class Timeline:
    """What happened when, in epoch seconds; published as an annotation of the Pod."""

    def __init__(self, mode: str) -> None:
        self.marks: dict[str, float | str] = {"mode": mode, "process_start": STARTED}
        self.changed = threading.Event()
        self.lock = threading.Lock()
        self.namespace, self.name = os.environ.get("POD_NAMESPACE"), os.environ.get("POD_NAME")

    def mark(self, **marks: float | str) -> None:
        """Record marks; the publisher takes them from there."""
        with self.lock:
            for name, value in marks.items():
                self.marks[name] = round(value, 3) if isinstance(value, float) else value
        self.changed.set()

    def publish(self) -> None:
        """Runs in a thread: send what changed, again until it is accepted."""
        if not (self.namespace and self.name and "KUBERNETES_SERVICE_HOST" in os.environ):
            return
        pause = 0.1
        while True:
            self.changed.wait()
            self.changed.clear()
            with self.lock:
                text = json.dumps(self.marks, sort_keys=True)
            try:
                Kubernetes().patch_pod(self.namespace, self.name, {ANNOTATION: text})
                pause = 0.1
            except (OSError, http.client.HTTPException) as error:
                say(f"cannot report the timeline, trying again: {error}")
                time.sleep(pause)
                pause = min(5.0, pause * 2)
                self.changed.set()


# --- the engine's side: runs in a process that imports vLLM -------------------------------------------------


def import_engine() -> None:
    """Import what the API server, the engine core and its worker need, without starting a thread.

    A thread pool of OpenMP or BLAS does not survive a fork, so none may start before it: with one thread
    nothing is started. `threads_for_engine` sets the real number after the fork.
    """
    os.environ.setdefault("USER_OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", ""))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its pool too would be lost in the fork
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    gc.disable()  # collecting while importing finds nothing and costs a tenth of the time
    names = list(EARLY)
    try:
        platform = importlib.import_module("vllm.platforms").current_platform
        worker = "cpu" if platform.is_cpu() else "gpu"
        names += [f"vllm.v1.worker.{worker}_worker", f"vllm.v1.worker.{worker}_model_runner"]
        for name in names:
            try:
                importlib.import_module(name)
            except ImportError:
                continue  # another version of vLLM names it otherwise; it will be imported when needed
        if importlib.util.find_spec("vllm.entrypoints.launchers"):
            importlib.import_module("vllm.entrypoints.launchers.cli_args")
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()  # keeps the collector, and so copy-on-write, off what is shared


def threads_for_engine() -> None:
    """Undo the single thread of `import_engine`: one thread per physical core, as vLLM itself would have."""
    import torch

    wanted = os.environ.pop("USER_OMP_NUM_THREADS", "") or os.environ.get("OMP_NUM_THREADS_ENGINE", "")
    cores = set()
    for cpu in os.sched_getaffinity(0):
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", encoding="ascii") as file:
                cores.add(file.read().strip())
        except OSError:
            cores.add(str(cpu))
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.pop(name, None)
    count = int(wanted) if wanted.isdigit() else max(1, len(cores))
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


def register_model(model: str) -> None:
    """Let vLLM inspect the model's class in this process; otherwise it starts one that imports everything."""
    from vllm.model_executor.models import ModelRegistry

    try:
        with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
            architectures = json.load(file).get("architectures") or []
        for name in architectures:
            load = getattr(ModelRegistry.models.get(name), "load_model_cls", None)
            if load is not None:
                logging.disable(logging.WARNING)  # "already registered" is the intention
                ModelRegistry.register_model(name, load())
    except Exception as error:
        say(f"model class not registered ahead, vLLM will inspect it itself: {error!r}")
    finally:
        logging.disable(logging.NOTSET)


class MarkHandler(logging.Handler):
    """Turns vLLM's log lines about weights into marks; inherited by the forked engine core."""

    def __init__(self, fd: int) -> None:
        super().__init__(logging.INFO)
        self.fd = fd

    def emit(self, record: logging.LogRecord) -> None:
        for name, value in marks_in(record.getMessage()).items():
            send_mark(self.fd, name, value)


def marks_in(line: str) -> dict[str, float]:
    """The marks that one line of vLLM's log stands for."""
    if LOADING in line:
        return {"weights_start": time.time()}
    if found := LOADED.search(line):
        return {"weights_seconds": float(found[1]), "weights_loaded": time.time()}
    return {}


def send_mark(fd: int, name: str, value: float) -> None:
    os.write(fd, json.dumps({name: round(value, 3)}).encode() + b"\n")  # shorter than PIPE_BUF: atomic


def serve(arguments: list[str], listener: socket.socket, marks: int, ready: int) -> None:
    """Be the engine of one pod: vLLM's OpenAI server on the pod's socket, once the data is there."""
    send_mark(marks, "imported", time.time())
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.openai import api_server
    from vllm.platforms import current_platform

    try:
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ImportError:
        from vllm.utils import FlexibleArgumentParser
    try:
        from vllm.entrypoints.launchers import cli_args
    except ImportError:
        from vllm.entrypoints.openai import cli_args

    if current_platform.is_cpu():
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the core runs the model itself: no third process
    args = cli_args.make_arg_parser(FlexibleArgumentParser()).parse_args(arguments)
    try:
        from vllm.logger import configure_logging_from_args
    except ImportError:
        pass
    else:
        configure_logging_from_args(args)
    cli_args.validate_parsed_serve_args(args)
    logging.getLogger("vllm").addHandler(MarkHandler(marks))

    created = AsyncEngineArgs.create_engine_config

    def create_engine_config(self, *positional, **named):  # type: ignore[no-untyped-def]
        """vLLM's CPU platform asks for `spawn` in here. Nothing has started a thread: fork is safe."""
        config = created(self, *positional, **named)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
        return config

    AsyncEngineArgs.create_engine_config = create_engine_config
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
    threads_for_engine()
    if not os.read(ready, 1):
        raise SystemExit("the launcher is gone before the data was there")
    os.close(ready)
    register_model(args.model)

    import uvloop

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("terminated")

    signal.signal(signal.SIGTERM, interrupt)  # until uvicorn installs its own
    host, port = listener.getsockname()[:2]
    uvloop.run(api_server.run_server_worker(f"http://{host}:{port}", listener, args))


def run_child(arguments: list[str], listener: socket.socket, marks: int, ready: int) -> None:
    """`serve` with an exit status instead of an exception; never returns."""
    status = 1
    try:
        serve(arguments, listener, marks, ready)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
        if isinstance(error.code, str):
            say(error.code)
    except KeyboardInterrupt:
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def reset_signals() -> None:
    for number in (*RELAYED, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def die_with_parent(number: int) -> None:
    ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG


# --- the engine host ----------------------------------------------------------------------------------------


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
        import_engine()
        if (count := len(os.listdir("/proc/self/task"))) > 1:
            say(f"vLLM's import started {count - 1} threads, so its engines cannot be forked from here")
            return 1
        if os.path.exists(self.path):
            os.unlink(self.path)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path + ".new")
        os.chmod(self.path + ".new", 0o600)
        listener.listen(64)
        os.rename(self.path + ".new", self.path)  # appears only when it answers
        signal.set_wakeup_fd(self.wake_w)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.selector.register(self.wake_r, selectors.EVENT_READ)
        self.selector.register(listener, selectors.EVENT_READ)
        say(f"engine host ready after {time.time() - before:.1f} s on {self.path}")
        while True:
            for key, _ in self.selector.select():
                if key.fileobj == self.wake_r:
                    signals = os.read(self.wake_r, 64)
                    if signal.SIGTERM in signals or signal.SIGINT in signals:
                        os.unlink(self.path)
                        for pid in self.children:
                            self.kill(pid, signal.SIGTERM)
                        return 0
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
            space = socket.CMSG_LEN(len(FDS) * array.array("i").itemsize)
            data, ancillary, _, _ = connection.recvmsg(1 << 20, space)
            for _, _, raw in ancillary:
                descriptors += array.array("i", raw)
            while not data.endswith(b"\n"):
                piece = connection.recv(1 << 20)
                if not piece:
                    raise ValueError("the request ended early")
                data += piece
            request = json.loads(data)
            if len(descriptors) != len(FDS):
                raise ValueError(f"expected {len(FDS)} descriptors, got {len(descriptors)}")
            if self.image and request["image"] and request["image"] != self.image:
                raise ValueError(f"this host runs {self.image}, not {request['image']}")
        except (OSError, ValueError, KeyError) as error:
            self.answer(connection, {"refused": str(error)})
            connection.close()
        else:
            pid = os.fork()
            if pid == 0:
                self.child(request, dict(zip(FDS, descriptors)), listener)
            self.children[pid] = connection
            connection.setblocking(False)
            self.selector.register(connection, selectors.EVENT_READ, pid)
            self.answer(connection, {"pid": pid})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def child(self, request: dict, fds: dict[str, int], listener: socket.socket) -> None:  # type: ignore[type-arg]
        """In the forked process: become the engine of that pod."""
        try:
            reset_signals()
            os.setsid()
            die_with_parent(signal.SIGKILL)
            self.selector.close()
            listener.close()
            for connection in self.children.values():
                connection.close()
            os.dup2(fds["stdout"], 1)
            os.dup2(fds["stderr"], 2)
            own = {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS") or k == "LD_PRELOAD"}
            os.environ.clear()
            os.environ.update({**request["env"], **own})
            os.environ["USER_OMP_NUM_THREADS"] = request["env"].get("OMP_NUM_THREADS", "")
            model = f"/proc/self/fd/{fds['model']}"
            arguments = request["arguments"]
            if option(arguments, "--served-model-name") is None:
                arguments = with_option(arguments, "--served-model-name", option(arguments, "--model") or "model")
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


# --- the launcher's side: small, in the pod -----------------------------------------------------------------


class Launcher:
    """One pod's launcher: starts the engine one way or another, then watches over it."""

    def __init__(self, mode: str, arguments: list[str]) -> None:
        self.mode, self.arguments = mode, arguments
        self.host = option(arguments, "--host") or "0.0.0.0"
        self.port = int(option(arguments, "--port") or 8000)
        self.marks_r, self.marks_w = os.pipe()
        self.ready_r, self.ready_w = os.pipe()
        self.wake_r, self.wake_w = os.pipe()
        os.set_blocking(self.wake_w, False)
        self.pid = 0  # of our child; the engine host's child is not ours
        self.connection: socket.socket | None = None
        self.timeline = Timeline(mode)

    def run(self) -> int:
        """Start the engine and return its exit status."""
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
        self.start_threads(self.release)
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
        if not path or not os.path.exists(path):
            return False
        if not os.path.isdir(model):
            raise SystemExit(f"the model directory {model!r} does not exist; is the volume mounted there?")
        directory = os.open(model, os.O_RDONLY | os.O_DIRECTORY)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(5)
        try:
            connection.connect(path)
            request = {
                "arguments": self.arguments,
                "env": dict(os.environ),
                "image": os.environ.get("ENGINE_IMAGE", ""),
            }
            fds = [listener.fileno(), 1, 2, self.marks_w, self.ready_r, directory]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            data = json.dumps(request).encode() + b"\n"
            sent = connection.sendmsg([data], rights)
            connection.sendall(data[sent:])
            answer = json.loads(connection.makefile("rb").readline() or b"{}")
            if "pid" not in answer:
                raise OSError(answer.get("refused", "it closed the connection"))
        except (OSError, ValueError) as error:
            say(f"no warm start from the engine host at {path}: {error}")
            connection.close()
            return False
        finally:
            os.close(directory)
        connection.settimeout(None)
        self.connection = connection
        return True

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
        released = threading.Event()
        self.start_threads(released.set)
        while not released.wait(0.05):
            if self.stopped_early():
                return 143
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
                    self.timeline.mark(**marks)

        threading.Thread(target=read, daemon=True).start()
        return self.watch()

    def stopped_early(self) -> bool:
        os.set_blocking(self.wake_r, False)
        try:
            return signal.SIGTERM in os.read(self.wake_r, 64)
        except BlockingIOError:
            return False
        finally:
            os.set_blocking(self.wake_r, True)

    def release(self) -> None:
        """The data is there: let the engine go on."""
        try:
            os.write(self.ready_w, b"1")
        except BrokenPipeError:
            pass

    def start_threads(self, release: object) -> None:
        """Data, timeline and readiness are watched beside the engine; never before a fork."""

        def data() -> None:
            if wanted := os.environ.get("WAIT_FOR_DATALOAD"):
                namespace, _, name = wanted.rpartition("/")
                Kubernetes().wait_for_dataload(namespace or os.environ.get("POD_NAMESPACE", "default"), name)
            self.timeline.mark(data_ready=time.time())
            release()  # type: ignore[operator]

        def readiness() -> None:
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
            while True:
                connection = http.client.HTTPConnection(host, self.port, timeout=5)
                try:
                    connection.request("GET", "/health")
                    if connection.getresponse().status == 200:
                        self.timeline.mark(serving=time.time())
                        return
                except (OSError, http.client.HTTPException):
                    pass
                finally:
                    connection.close()
                time.sleep(0.05)

        for target in (data, readiness, self.timeline.publish):
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


def main(argv: list[str]) -> int:
    """The command line, see the top of this file."""
    own, arguments = argv, []
    if "--" in argv:
        own, arguments = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    mode = option(own, "--mode", "shared") or "shared"
    if mode == "host":
        path = os.environ.get("ENGINE_HOST_SOCKET", "/run/boundaryless/engine-host/host.sock")
        return Host(path, os.environ.get("ENGINE_IMAGE", "")).run()
    if mode not in ("shared", "stock") or not option(arguments, "--model"):
        print(__doc__)
        return 2
    return Launcher(mode, arguments).run()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # the watching threads need no farewell
