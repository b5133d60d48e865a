"""A user's ThinRuntimeProfile, by Fluid's contract with the image. Pure.

The container gets MOUNT_POINT, MOUNT_OPTIONS and /etc/fluid/config/config.json, mounts at `targetPath` and
stays in the foreground. Secret options appear in the configuration as paths of files.
https://github.com/fluid-cloudnative/fluid/blob/master/docs/en/samples/thinruntime.md
"""

from __future__ import annotations

import json

from addon_framework.api.meta import Json
from runtimes.fuse import client_pod
from runtimes.interface import Cache
from runtimes.pods import literal, mount
from runtimes.thin.s3fs import joined

_CONFIG, _SECRETS = "/etc/fluid/config", "/etc/fluid/secrets"


def effective(cache: Cache) -> Json:
    """The profile's fuse section with the runtime's over it."""
    profile = ((cache.profile or {}).get("spec") or {}).get("fuse") or {}
    own = cache.spec.get("fuse") or {}
    merged: Json = {
        **profile,
        **{name: value for name, value in own.items() if value not in (None, "", [], {})},
    }
    for name in ("env", "volumeMounts"):
        merged[name] = [*(profile.get(name) or []), *(own.get(name) or [])]
    merged["options"] = {**(profile.get("options") or {}), **(own.get("options") or {})}
    return merged


def validate(cache: Cache) -> list[str]:
    """What the contract needs."""
    fuse, where = effective(cache), f"{cache.title}: spec.fuse"
    problems = [] if fuse.get("image") else [f"{where}.image: neither the runtime nor the profile names one"]
    if (fuse.get("lifecycle") or {}).get("postStart"):
        problems.append(f"{where}.lifecycle.postStart: is not possible; mount in the container's command")
    paths = [source.path for source in cache.sources]
    if len(set(paths)) < len(paths):
        problems.append(
            f"Dataset {cache.namespace}/{cache.name}: spec.mounts: two have one path; give each its own"
        )
    return problems


def config_map(cache: Cache) -> str:
    """Its name."""
    return f"{cache.name}-fuse-conf"


def configuration(cache: Cache) -> str:
    """config.json."""
    mounts = [
        {
            "mountPoint": source.url,
            "name": source.name,
            "path": source.path,
            "readOnly": source.read_only,
            "options": {
                **source.options,
                **{name: f"{_SECRETS}/{key.name}/{key.key}" for name, key in source.secrets.items()},
            },
        }
        for source in cache.sources
    ]
    return json.dumps(
        {
            "mounts": mounts,
            "targetPath": cache.mount_point,
            "accessModes": cache.dataset.spec.access_modes or ["ReadOnlyMany"],
        },
        sort_keys=True,
    )


def pod(cache: Cache) -> Json:
    """The client."""
    fuse = effective(cache)
    options = {**({"ro": ""} if cache.read_only else {}), **fuse["options"]}
    secrets = sorted({key.name for source in cache.sources for key in source.secrets.values()})
    profile_volumes = ((cache.profile or {}).get("spec") or {}).get("volumes") or []
    image = str(fuse["image"])
    made = client_pod(
        cache,
        name="thin-fuse",
        image=f"{image}:{fuse['imageTag']}" if fuse.get("imageTag") else image,
        command=fuse.get("command") or [],
        args=fuse.get("args") or [],
        env=[literal("MOUNT_OPTIONS", joined(options)), *fuse["env"]],
        volumes=[
            {"name": "fuse-conf", "configMap": {"name": config_map(cache)}},
            *({"name": f"secret-{n}", "secret": {"secretName": name}} for n, name in enumerate(secrets)),
            *profile_volumes,
            *(cache.spec.get("volumes") or []),
        ],
        mounts=[
            mount("fuse-conf", _CONFIG, read_only=True),
            *(mount(f"secret-{n}", f"{_SECRETS}/{name}", read_only=True) for n, name in enumerate(secrets)),
            *fuse["volumeMounts"],
        ],
    )
    container = made["containers"][0]
    if not container["command"]:
        del container["command"]  # the image's own
    for name in ("resources", "ports", "livenessProbe", "readinessProbe", "imagePullPolicy"):
        if fuse.get(name):
            container[name] = fuse[name]
    if pre_stop := (fuse.get("lifecycle") or {}).get("preStop"):
        container["lifecycle"] = {"preStop": pre_stop}
    for name in ("nodeSelector", "tolerations"):
        if fuse.get(name):
            made[name] = fuse[name]
    if fuse.get("networkMode") == "HostNetwork":
        made["hostNetwork"] = True
    return made
