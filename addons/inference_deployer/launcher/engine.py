"""The engine's side: runs in a process that imports vLLM, and becomes its OpenAI server."""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
import warnings

from .arriving import Arrival, wait_for_data
from .timeline import mark_log_lines, say, send_mark

RELAYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
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


def serves_cpu() -> bool:
    """Whether what was imported runs models on the CPU."""
    return bool(importlib.import_module("vllm.platforms").current_platform.is_cpu())


def threads_for_engine() -> None:
    """Undo the single thread of `import_engine`: OMP_NUM_THREADS as the pod says, or the physical cores."""
    import torch

    wanted = os.environ.pop("USER_OMP_NUM_THREADS", "")
    cores = set()
    for cpu in os.sched_getaffinity(0):
        try:
            with open(
                f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", encoding="ascii"
            ) as file:
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
    mark_log_lines(marks)

    arrival: Arrival | None = None
    created = AsyncEngineArgs.create_engine_config

    def create_engine_config(self, *positional, **named):  # type: ignore[no-untyped-def]
        """vLLM's CPU platform asks for `spawn` in here. Nothing has started a thread: fork is safe."""
        config = created(self, *positional, **named)
        if arrival is not None:
            arrival.look_at(config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
        return config

    AsyncEngineArgs.create_engine_config = create_engine_config
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
    os.register_at_fork(after_in_child=lambda: die_with_parent(signal.SIGKILL))  # the core never outlives us
    threads_for_engine()
    arrival = wait_for_data(args.model, ready, marks)
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
