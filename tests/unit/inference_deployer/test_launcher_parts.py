"""The launcher's parts that need neither vLLM nor a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

from addons.inference_deployer.launcher.arguments import option, with_option
from addons.inference_deployer.launcher.host import host_lives
from addons.inference_deployer.launcher.timeline import ANNOTATION, Timeline, marks_in
from addons.inference_deployer.launcherfiles import launcher_files


def test_options_in_both_spellings():
    arguments = ["--model", "/a", "--port=1", "--port=2"]
    assert option(arguments, "--model") == "/a"
    assert option(arguments, "--port") == "2"
    assert option(arguments, "--host", "h") == "h"
    assert with_option(["--port=1", "--model", "/a", "x"], "--model", "/b") == [
        "--port=1",
        "x",
        "--model",
        "/b",
    ]


def test_marks_from_vllms_own_words():
    assert "weights_start" in marks_in("INFO [cpu_model_runner.py:68] Starting to load model /models...")
    assert marks_in("INFO Loading weights took 0.16 seconds")["weights_seconds"] == 0.16
    assert marks_in("INFO Starting vLLM server") == {}


def test_the_timeline_is_sent_until_it_is_taken():
    timeline, sent, done = Timeline("cold"), [], threading.Event()

    def send(annotations):
        sent.append(json.loads(annotations[ANNOTATION]))
        if len(sent) == 1:
            raise OSError("not now")
        done.set()

    threading.Thread(target=timeline.publish, args=(send,), daemon=True).start()
    assert done.wait(30)
    assert sent[-1]["mode"] == "cold"
    assert sent[-1]["process_start"] > 0


def test_it_runs_from_wherever_its_files_are_mounted(tmp_path):
    directory = tmp_path / "launcher"
    directory.mkdir()
    for name, text in launcher_files().items():
        (directory / name).write_text(text)
    command = [sys.executable, "-I", str(directory), "--mode", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "--mode shared|stock" in done.stdout


def test_a_lock_that_nobody_holds_is_no_host(tmp_path):
    path = str(tmp_path / "host.sock")
    assert not host_lives(path)
    (tmp_path / "host.sock.lock").touch()
    assert not host_lives(path)
