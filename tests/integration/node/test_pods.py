"""Pods on the real thing: an API server, a node, processes."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from typing import Any

from addon_framework.api.core import CONFIGMAPS, PODS, SECRETS
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError
from addon_framework.testing import eventually

from .cluster import PYTHON_IMAGE, Cluster, descendants_mentioning


def state_of(pod: Json, index: int = 0) -> Json:
    return dict(pod["status"]["containerStatuses"][index])


async def test_a_pod_runs_within_a_moment(cluster: Cluster) -> None:
    await cluster.pod("warm", "sleep 1000")
    await cluster.running("warm")
    numbers = itertools.count()

    async def at_once() -> bool:
        name = f"fast-{next(numbers)}"
        began = time.monotonic()
        await cluster.pod(name, "sleep 1000")
        await cluster.running(name)
        return time.monotonic() - began < 1.0  # 0.03 s where nothing else runs

    await eventually(at_once)  # the first, but where the machine is busy: nothing on the way waits for a time


async def test_exit_code_and_log(cluster: Cluster) -> None:
    await cluster.pod(
        "fails", "echo out; echo err >&2; printf why > /dev/termination-log; exit 3", restartPolicy="Never"
    )
    pod = await cluster.ended("fails")
    ended = state_of(pod)["state"]["terminated"]
    assert (pod["status"]["phase"], ended["exitCode"], ended["message"]) == ("Failed", 3, "why")
    assert sorted((await cluster.logs("fails")).split()) == ["err", "out"]


async def test_restarts_at_once_and_then_backs_off(cluster: Cluster) -> None:
    await cluster.pod("crash", "echo again; exit 1")

    def backs_off(pod: Json) -> bool:
        state = state_of(pod)
        return bool(
            state["restartCount"] >= 1
            and state["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
            and state["lastState"]["terminated"]["exitCode"] == 1
        )

    pod = await cluster.wait(PODS, "crash", lambda p: p["status"].get("containerStatuses") and backs_off(p))
    assert state_of(pod)["containerID"] == state_of(pod)["lastState"]["terminated"]["containerID"]
    await cluster.wait(PODS, "crash", lambda p: state_of(p)["restartCount"] >= 2)


async def test_init_containers_run_in_order_before_the_rest(cluster: Cluster) -> None:
    mount = [{"name": "work", "mountPath": "/work"}]
    inits = [
        {
            "name": name,
            "image": "busybox",
            "command": ["sh", "-c", f"echo {name} >> /work/order"],
            "volumeMounts": mount,
        }
        for name in ("one", "two")
    ]
    await cluster.pod(
        "inits",
        "echo main >> /work/order; cat /work/order",
        container={"volumeMounts": mount},
        initContainers=inits,
        restartPolicy="Never",
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    assert (await cluster.output("inits")).split() == ["one", "two", "main"]


async def test_a_failed_init_container_ends_a_pod_that_never_restarts(cluster: Cluster) -> None:
    bad = {"name": "bad", "image": "busybox", "command": ["false"]}
    await cluster.pod("never", "echo main", initContainers=[bad], restartPolicy="Never")
    pod = await cluster.ended("never")
    assert pod["status"]["phase"] == "Failed"
    assert "waiting" in state_of(pod)["state"]


async def test_a_sidecar_starts_first_and_ends_last(cluster: Cluster) -> None:
    sidecar = {
        "name": "side",
        "image": "busybox",
        "restartPolicy": "Always",
        "command": ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"],
    }
    await cluster.pod("sidecar", "echo main", initContainers=[sidecar], restartPolicy="Never")
    pod = await cluster.ended("sidecar")
    assert pod["status"]["phase"] == "Succeeded"
    assert await cluster.logs("sidecar", "side") == "up\n"
    assert not descendants_mentioning(pod["metadata"]["uid"])


SERVER = (
    "import http.server, os, sys\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(500 if os.path.isfile('/tmp/' + self.path.strip('/')) else 200)\n"
    "        self.end_headers()\n"
    "        self.wfile.write(os.environ['HOSTNAME'].encode())\n"
    "http.server.ThreadingHTTPServer((os.environ['POD_IP'], 8000), H).serve_forever()\n"
)


def web_container(**more: Any) -> Json:
    """Answers on its pod's address with its host's name; 500 on /NAME where /tmp/NAME is there."""
    return {
        "image": PYTHON_IMAGE,
        "args": ["-c", SERVER],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "http", "containerPort": 8000}],
        **more,
    }


async def test_readiness_follows_its_probe(cluster: Cluster) -> None:
    probe = {"httpGet": {"path": "/unready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
    await cluster.pod("web", container=web_container(readinessProbe=probe))
    pod = await cluster.running("web")
    scratch = cluster.node.state / "pods" / pod["metadata"]["uid"] / "containers/main/tmp/unready"
    scratch.touch()
    await cluster.wait(PODS, "web", lambda p: not state_of(p)["ready"])
    scratch.unlink()
    await cluster.running("web")


async def test_liveness_restarts(cluster: Cluster) -> None:
    script = "touch /tmp/alive; echo started; sleep 0.5; rm /tmp/alive; sleep 1000"
    probe = {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    await cluster.pod("live", script, container={"livenessProbe": probe})
    pod = await cluster.wait(
        PODS, "live", lambda p: p["status"].get("containerStatuses") and state_of(p)["restartCount"] >= 1
    )
    assert state_of(pod)["lastState"]["terminated"]["exitCode"] == 143


async def test_environment(cluster: Cluster) -> None:
    await cluster.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"color": "blue"}}
    )
    await cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"KEY": "s3cret"}}
    )
    env = [
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "URL", "value": "http://$(NODE)/$(COLOR)/$$(NODE)"},
    ]
    await cluster.pod(
        "env",
        'echo "$NODE $APP $IP $CPU $URL $KEY $(hostname)"',
        labels={"app": "demo"},
        container={
            "env": env,
            "envFrom": [{"secretRef": {"name": "keys"}}],
            "resources": {"limits": {"cpu": "1500m"}},
        },
        restartPolicy="Never",
    )
    output = await cluster.output("env")
    pod = await cluster.client.get(PODS, "env", cluster.namespace)
    address = pod["status"]["podIP"]
    assert output == f"node1 demo {address} 2 http://node1/blue/$(NODE) s3cret env\n"


async def test_a_missing_source_is_waited_for(cluster: Cluster) -> None:
    source = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "late", "key": "k"}}}]
    await cluster.pod("waits", "echo $KEY", container={"env": source}, restartPolicy="Never")
    pod = await cluster.wait(
        PODS,
        "waits",
        lambda p: "CreateContainerConfigError" in str(p["status"].get("containerStatuses")),
    )
    assert "secret 'late' not found" in state_of(pod)["state"]["waiting"]["message"]
    await cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"k": "here"}}
    )
    assert await cluster.output("waits") == "here\n"


async def test_volumes_from_the_api_are_updated(cluster: Cluster) -> None:
    for kind, name in (("ConfigMap", "settings"), ("Secret", "keys")):
        await cluster.create(
            {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": {"a": "b25l"}}
        )
    sources = [
        {"serviceAccountToken": {"path": "token", "audience": "hub", "expirationSeconds": 600}},
        {"configMap": {"name": "settings"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    script = (
        "cat /config/a /keys/a /all/a /all/labels; echo; cut -c1-3 /all/token; "
        "until [ $(cat /config/a) = dHdv ] && [ $(cat /keys/a) = two ] && grep -q x=y /all/labels; "
        "do sleep 0.05; done 2>/dev/null; echo updated; "
        "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace"
    )
    names = {"config": "/config", "keys": "/keys", "all": "/all"}
    await cluster.pod(
        "mounts",
        script.replace("x=y", "x=.y"),
        labels={"app": "m"},
        container={"volumeMounts": [{"name": n, "mountPath": p} for n, p in names.items()]},
        restartPolicy="Never",
        volumes=[
            {"name": "config", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys"}},
            {"name": "all", "projected": {"sources": sources}},
        ],
    )
    await eventually(lambda: _has_line(cluster, "mounts", "eyJ"))
    for resource, name in ((CONFIGMAPS, "settings"), (SECRETS, "keys")):
        await cluster.client.patch(resource, name, {"data": {"a": "dHdv"}}, cluster.namespace)
    await cluster.client.patch(PODS, "mounts", {"metadata": {"labels": {"x": "y"}}}, cluster.namespace)
    lines = (await cluster.output("mounts")).splitlines()
    assert lines == ['b25loneb25lapp="m"', "eyJ", "updated", cluster.namespace]


async def _has_line(cluster: Cluster, pod: str, line: str) -> bool:
    try:
        return line in (await cluster.logs(pod)).splitlines()
    except ApiError:
        return False


async def test_a_pod_speaks_to_the_api_with_its_token(cluster: Cluster) -> None:
    script = (
        "import asyncio\n"
        "from addon_framework.kube import Client, Forbidden\n"
        "from addon_framework.api.core import PODS\n"
        "async def main():\n"
        "    async with Client.in_cluster() as client:\n"
        "        try:\n"
        "            await client.list(PODS, 'default')\n"
        "        except Forbidden as error:\n"
        "            print(error.message)\n"
        "asyncio.run(main())\n"
    )
    await cluster.pod("api", container={"image": PYTHON_IMAGE, "args": ["-c", script]}, restartPolicy="Never")
    assert f"system:serviceaccount:{cluster.namespace}:default" in await cluster.output("api")


async def test_hidden_directories_are_not_seen(cluster: Cluster) -> None:
    state, secret = cluster.node.state, cluster.node.secret
    script = (
        f"exec 2>&1; ls -A {secret} {state}/pods {state}/logs; umount {secret} && echo escaped; "
        "touch /usr/x; ls /usr/bin/env; id -u"
    )
    await cluster.pod("spy", script, restartPolicy="Never")
    output = await cluster.output("spy")
    assert "key" not in output.split()
    assert "escaped" not in output
    assert "Read-only file system" in output
    assert "/usr/bin/env" in output
    if os.geteuid() == 0:
        assert output.split()[-1] == "0"


async def test_memory_volume_at_dev_shm(cluster: Cluster) -> None:
    await cluster.pod(
        "shm",
        "stat -f -c %T /dev/shm; echo x > /dev/shm/x; cat /dev/shm/x; stat -f -c %T /tmp | head -1",
        container={"volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}]},
        restartPolicy="Never",
        volumes=[{"name": "shm", "emptyDir": {"medium": "Memory"}}],
    )
    assert (await cluster.output("shm")).split()[:2] == ["tmpfs", "x"]


async def test_termination_is_graceful(cluster: Cluster) -> None:
    mount = {"volumeMounts": [{"name": "out", "mountPath": "/out"}]}
    volumes = [{"name": "out", "hostPath": {"path": f"/{cluster.namespace}", "type": "DirectoryOrCreate"}}]
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /out/end"]}}}
    script = "trap 'sleep 0.3; echo term >> /out/end; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    await cluster.pod(
        "polite",
        script,
        container={**mount, "lifecycle": hook},
        volumes=volumes,
        terminationGracePeriodSeconds=30,
    )
    await cluster.running("polite")
    await eventually(lambda: cluster.logs("polite"))  # it runs before it is polite
    await cluster.client.delete(PODS, "polite", cluster.namespace)
    await cluster.gone(PODS, "polite")
    out = cluster.node.host / cluster.namespace / "end"
    assert out.read_text().split() == ["hook", "term"]


async def test_hooks_that_fail_do_not_hold_the_end_up(cluster: Cluster) -> None:
    hooks = {
        "postStart": {"exec": {"command": ["touch", "/tmp/started"]}},
        "preStop": {"httpGet": {"port": 1}},
    }
    await cluster.pod(
        "hooks",
        "until [ -e /tmp/started ]; do sleep 0.05; done; echo hooked; sleep 1000",
        container={"lifecycle": hooks},
    )
    await eventually(lambda: _has_line(cluster, "hooks", "hooked"))
    await cluster.client.delete(PODS, "hooks", cluster.namespace)
    await cluster.gone(PODS, "hooks")


async def test_a_host_path_that_must_exist_is_waited_for(cluster: Cluster) -> None:
    path = f"/{cluster.namespace}/late"
    await cluster.pod(
        "late",
        "cat /late",
        container={"volumeMounts": [{"name": "late", "mountPath": "/late"}]},
        volumes=[{"name": "late", "hostPath": {"path": path, "type": "File"}}],
        restartPolicy="Never",
    )
    await cluster.wait(PODS, "late", lambda p: "ContainerCreating" in str(p["status"]))
    (cluster.node.host / cluster.namespace).mkdir()
    (cluster.node.host / path.lstrip("/")).write_text("here\n")
    assert await cluster.output("late") == "here\n"


async def test_who_ignores_sigterm_is_killed(cluster: Cluster) -> None:
    await cluster.pod(
        "deaf", "trap '' TERM; echo deaf; while :; do sleep 0.05; done", terminationGracePeriodSeconds=1
    )
    pod = await cluster.running("deaf")
    await eventually(lambda: cluster.logs("deaf"))  # it runs before it is deaf
    began = time.monotonic()
    await cluster.client.delete(PODS, "deaf", cluster.namespace)
    await cluster.gone(PODS, "deaf")
    assert 0.9 < time.monotonic() - began < 25  # after the second it was given, not the usual 30
    assert not descendants_mentioning(pod["metadata"]["uid"])
    assert not (cluster.node.state / "pods" / pod["metadata"]["uid"]).exists()


async def test_a_unix_socket_on_a_host_path_passes_descriptors(cluster: Cluster) -> None:
    directory = "/run/boundaryless/engine-host"
    serve = (
        "import os, socket\n"
        f"s = socket.socket(socket.AF_UNIX); s.bind('{directory}/sock'); s.listen()\n"
        "c, _ = s.accept()\n"
        "_, fds, _, _ = socket.recv_fds(c, 10, 1)\n"
        "print(os.read(fds[0], 100).decode(), flush=True)\n"
    )
    send = (
        "import os, socket, time\n"
        "r, w = os.pipe(); os.write(w, b'through the pipe')\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        f"while s.connect_ex('{directory}/sock'): time.sleep(0.01)\n"
        "socket.send_fds(s, [b'x'], [r])\n"
    )
    volumes = [{"name": "run", "hostPath": {"path": directory, "type": "DirectoryOrCreate"}}]
    for name, script in (("engine", serve), ("launcher", send)):
        container = {
            "image": PYTHON_IMAGE,
            "args": ["-c", script],
            "volumeMounts": [{"name": "run", "mountPath": directory}],
        }
        await cluster.pod(name, container=container, volumes=volumes, restartPolicy="Never")
    assert await cluster.output("engine") == "through the pipe\n"
    (cluster.node.host / directory.lstrip("/") / "sock").unlink()


async def test_unknown_image_and_program(cluster: Cluster) -> None:
    await cluster.pod("image", "true", container={"image": "example.org/nobody:1"})
    pod = await cluster.wait(PODS, "image", lambda p: "ErrImagePull" in str(p["status"]))
    assert "no local program stands for image" in state_of(pod)["state"]["waiting"]["message"]
    await cluster.pod("program", container={"command": ["/nowhere/at/all"]}, restartPolicy="Never")
    pod = await cluster.ended("program")
    assert pod["status"]["phase"] == "Failed"
    assert "/nowhere/at/all" in await cluster.logs("program")


async def test_deadline(cluster: Cluster) -> None:
    await cluster.pod("late", "sleep 1000", activeDeadlineSeconds=1)
    pod = await cluster.ended("late")
    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")


async def test_many_pods_at_once(cluster: Cluster) -> None:
    await asyncio.gather(*(cluster.pod(f"p{n}", "sleep 1000") for n in range(10)))
    await asyncio.gather(*(cluster.running(f"p{n}") for n in range(10)))
