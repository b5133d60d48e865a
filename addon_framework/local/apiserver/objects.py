"""What happens to one object: create, update, patch, apply, delete, by the rules all kinds share.

Everything here is synchronous, so that a read, a decision and a write are one step to all others.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.local.apiserver import deletion, fieldmanager, status
from addon_framework.local.apiserver.admission import Admission
from addon_framework.local.apiserver.changes import spec_changed, unchanged
from addon_framework.local.apiserver.conversion import in_version
from addon_framework.local.apiserver.patches import patched
from addon_framework.local.apiserver.quotas import Quotas
from addon_framework.local.apiserver.schemas import (
    Cause,
    as_stored,
    cause,
    copy_json,
    decode_error,
    default,
    prune,
    unknown_fields,
    validate,
)
from addon_framework.local.apiserver.status import StatusError
from addon_framework.local.apiserver.store import Store
from addon_framework.local.apiserver.validation import default_builtin, validate_builtin
from addon_framework.local.apiserver.webhooks import Webhooks
from addon_framework.local.apiserver.write import Write

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_SERVER_SET = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


class Objects:
    """The verbs that write, on one store."""

    def __init__(
        self,
        store: Store,
        admission: Admission,
        webhooks: Webhooks,
        *,
        clock: Callable[[], str] = now_rfc3339,
    ) -> None:
        self.store, self.admission, self.webhooks, self.now = store, admission, webhooks, clock
        self._quotas = Quotas(store)

    # Verbs

    def create(self, write: Write, obj: Json, authorize: Callable[[], None] = lambda: None) -> Json:
        """A new object, as stored; of the name that the URL has, if that has one.

        What an update makes needs the right to create; that is asked for once it is clear what it would make.
        """
        obj = copy_json(obj)
        metadata = self._envelope(write, obj)
        self._check_fields(write, obj)
        if write.name:
            self._check_name(write, metadata)
            self.check_preconditions(write, {"metadata": {"uid": ""}}, {"uid": metadata.get("uid")})
            metadata.pop("resourceVersion", None)  # of what is not there any more
            authorize()
        write.name = metadata.get("name") or ""
        if metadata.get("resourceVersion") not in (None, "", "0"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        return self._insert(write, obj, "Update")

    def update(self, write: Write, obj: Json) -> Json:
        """The object replaced, or one of its subresources."""
        kind, obj = write.kind, copy_json(obj)
        metadata = self._envelope(write, obj)
        self._check_fields(write, obj)
        as_stored(obj, write.schema)
        current = self.store.get(kind.key, write.key)
        if current is None:
            raise status.not_found(kind, write.name)
        if not metadata.get("resourceVersion") and not kind.unconditional:
            message = "Invalid value: 0x0: must be specified for an update"
            cause = Cause("metadata.resourceVersion", "FieldValueInvalid", message)
            raise status.invalid(kind, write.name, [cause])
        self._check_name(write, metadata)
        return self._replace(write, current, obj, "Update")

    def patch(self, write: Write, patch_type: str, patch: Any) -> Json:
        """The object after a JSON, merge or strategic merge patch."""
        current = self.store.get(write.kind.key, write.key)
        if current is None:
            raise status.not_found(write.kind, write.name)
        shown = copy_json(in_version(write.kind, current, write.api_version))
        obj, write.patch = patched(shown, patch_type, patch, write.schema), patch
        metadata = self._envelope(write, obj)
        self._check_name(write, metadata)
        for field in ("uid", "deletionTimestamp"):
            if metadata.get(field) not in (None, "", current["metadata"].get(field)):
                wrong = cause.invalid(f"metadata.{field}", metadata[field], "field is immutable")
                raise status.invalid(write.kind, write.name, [wrong])
        self._check_fields(write, obj)
        as_stored(obj, write.schema)
        return self._replace(write, current, obj, "Update")

    def apply(self, write: Write, config: Json) -> tuple[Json, bool]:
        """Server-side apply; whether the object is new goes along."""
        kind, config = write.kind, copy_json(config)
        version, named = config.get("apiVersion") or "", config.get("kind") or ""
        if not version or not named:
            raise status.bad_request(f"invalid object type: /{version}, Kind={named}")
        metadata = self._envelope(write, config)
        if metadata.get("managedFields") is not None:
            raise status.bad_request("metadata.managedFields must be nil")
        unknown = unknown_fields(config, write.schema) if write.schema is not None else []
        if unknown and write.field_validation != "Strict":  # what nobody knows has no owner
            raise self._untyped(write, f".{unknown[0]}: field not declared in schema")
        self._check_fields(write, config)
        live = self.store.get(kind.key, write.key)
        if live is None or metadata.get("name"):
            self._check_name(write, metadata)
        if live is None and write.subresource:
            raise status.not_found(kind, write.name)
        uid = live["metadata"]["uid"] if live is not None else ""
        if metadata.get("uid") not in (None, "", uid):
            found = f"the existing object has uid {uid}" if uid else "no existing object was found"
            why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and {found}"
            raise status.conflict(kind, write.name, why)
        shown = copy_json(in_version(kind, live, write.api_version)) if live else None
        try:
            merged = fieldmanager.apply(
                shown,
                config,
                manager=write.manager,
                force=write.force,
                schema=write.schema,
                subresource=write.subresource,
                now=self._time(write),
                has_status=not kind.custom or write.version.status,
            )
        except fieldmanager.ApplyConflict as error:
            raise StatusError(409, "Conflict", str(error), {"causes": error.causes}) from None
        except fieldmanager.TypedError as error:
            raise self._untyped(write, str(error)) from None
        if live is None:
            merged["metadata"].setdefault("namespace", write.namespace)
            return self._insert(write, merged, "Apply"), True
        as_stored(merged, write.schema)
        if not metadata.get("resourceVersion"):
            merged["metadata"].pop("resourceVersion", None)
        return self._replace(write, live, merged, "Apply"), False

    def delete(self, write: Write, options: Json) -> tuple[Json, bool]:
        """The object, and whether it is gone already (or waits for finalizers or its kubelet)."""
        kind = write.kind
        current = self.store.get(kind.key, write.key)
        if current is None:
            raise status.not_found(kind, write.name)
        wanted = dict(options.get("preconditions") or {})
        if wanted.get("uid") == "":
            wanted["uid"] = '""'  # given, and nobody's
        self.check_preconditions(write, current, wanted)
        self.admission.delete(kind, current)
        self.webhooks.delete(write, current)
        metadata = current["metadata"]
        finalizers = deletion.finalizers_after(options, metadata.get("finalizers") or [])
        grace = deletion.grace_seconds(kind, current, options)
        waits = bool(finalizers) or grace > 0 or deletion.holds_itself(kind, current)
        if write.dry_run:
            return current, not waits
        if not waits:
            return self.store.remove(kind.key, write.key), True
        already = metadata.get("deletionTimestamp")
        sooner = grace < (metadata.get("deletionGracePeriodSeconds") or 0)
        if already and not sooner and finalizers == (metadata.get("finalizers") or []):
            return current, False
        marked = deletion.marked(kind, current, finalizers, grace, self._time(write))
        return self.store.put(kind.key, write.key, marked), False

    def check_preconditions(self, write: Write, current: Json, wanted: Json) -> None:
        """409 where the object is not the one, or not in the version, that somebody wants."""
        metadata = current["metadata"]
        uid, version = wanted.get("uid"), wanted.get("resourceVersion")
        if uid and uid != metadata["uid"]:
            raise status.conflict(
                write.kind,
                write.name,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}",
            )
        if version and version not in ("0", metadata["resourceVersion"]):
            raise status.modified(write.kind, write.name)

    # Forms

    def _envelope(self, write: Write, obj: Json) -> Json:
        """Checks apiVersion, kind and namespace against the request; returns metadata, made if absent."""
        kind = write.kind
        if kind.custom and not obj.get("kind"):
            raise status.bad_request(
                f"the object provided is unrecognized (must be of type {kind.kind}): Object 'Kind' is missing"
            )
        for name, wanted in (("apiVersion", write.api_version), ("kind", kind.kind)):
            sent = obj.get(name) or ""
            if not sent and not kind.custom:
                obj[name] = wanted
            elif sent != wanted:
                label = "API version in the data" if name == "apiVersion" else "kind in the data"
                raise status.bad_request(
                    f"the {label} ({sent}) does not match the expected {label.split(' in ')[0]} ({wanted})"
                )
        metadata = obj.get("metadata")
        if metadata is None:
            metadata = obj["metadata"] = {}
        if not isinstance(metadata, dict):
            raise status.bad_request("metadata must be an object")
        if kind.namespaced:
            sent = metadata.get("namespace")
            if sent and sent != write.namespace:
                raise status.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = write.namespace
        else:
            metadata.pop("namespace", None)
        return metadata

    def _check_name(self, write: Write, metadata: Json) -> None:
        """The object is the one that the URL names."""
        name = metadata.get("name") or ""
        if not name:
            why = "was undeterminable: name must be provided"
            raise status.bad_request(f"the name of the object ({write.name} based on URL) {why}")
        if name != write.name:
            why = f"does not match the name on the URL ({write.name})"
            raise status.bad_request(f"the name of the object ({name}) {why}")

    def _untyped(self, write: Write, why: str) -> StatusError:
        what = f"{write.namespace}/{write.name}; {write.api_version}, Kind={write.kind.kind}"
        return StatusError(500, "", f"failed to create typed patch object ({what}): {why}")

    def _check_fields(self, write: Write, obj: Json) -> None:
        """Fields that the schema does not know: refused, warned of, or dropped silently."""
        schema = write.schema
        if schema is None:
            return
        if write.field_validation != "Ignore":
            found = [f'duplicate field "{path}"' for path in write.twice]
            found += [f'unknown field "{path}"' for path in unknown_fields(obj, schema)]
            if found and write.field_validation == "Strict":
                raise self._unreadable(write, f"strict decoding error: {', '.join(found)}")
            write.warnings += found
        if error := decode_error(obj, schema):
            raise self._unreadable(write, error)
        prune(obj, schema)

    def _unreadable(self, write: Write, why: str) -> StatusError:
        if write.patch is not None:
            return status.invalid_patch(write.patch, why)
        kind, version = write.kind.kind, write.version.name
        return status.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')

    # Steps

    def _insert(self, write: Write, obj: Json, operation: str) -> Json:
        kind, metadata = write.kind, obj["metadata"]
        self.admission.namespace(kind, obj, write.namespace)
        for name in (*_SERVER_SET, "resourceVersion", "generation"):
            metadata.pop(name, None)
        metadata["uid"] = write.memory.uid
        metadata["creationTimestamp"] = self._time(write)
        if write.counts:
            metadata["generation"] = 1
        if write.keeps_status:
            obj.pop("status", None)
        as_stored(obj, write.schema)
        charged = self._complete(write, obj, None)
        if self.store.get(kind.key, write.key) is not None:
            raise status.already_exists(kind, write.name)
        if operation != "Apply":
            obj = self._track(write, None, obj)
        elif write.subresource == "" and "managedFields" in metadata:
            obj["metadata"]["managedFields"] = metadata["managedFields"]
        obj = in_version(kind, obj, kind.storage_api_version)
        return obj if write.dry_run else self._quotas.put(write, obj, charged)

    def _replace(self, write: Write, current: Json, obj: Json, operation: str) -> Json:
        kind, stored = write.kind, current
        current = in_version(kind, current, write.api_version)
        old, metadata = current["metadata"], obj["metadata"]
        self.check_preconditions(write, current, metadata)
        for name in (*_SERVER_SET, "generation", "generateName"):
            metadata.pop(name, None)
            if name in old:
                metadata[name] = old[name]
        metadata["resourceVersion"] = old["resourceVersion"]
        obj = self._only_its_part(write, current, obj)
        metadata = obj["metadata"]
        charged = self._complete(write, obj, current)
        if operation != "Apply":
            obj = self._track(write, current, obj)
        obj = in_version(kind, obj, kind.storage_api_version)
        if not obj["metadata"].get("finalizers"):
            obj["metadata"].pop("finalizers", None)
        if unchanged(stored, obj):
            return stored
        if write.counts and spec_changed(kind, write.version, stored, obj):
            obj["metadata"]["generation"] = int(old.get("generation") or 0) + 1
        if write.dry_run:
            return obj
        stored = self._quotas.put(write, obj, charged)
        return self.store.remove(kind.key, write.key) if deletion.is_finished(kind, obj) else stored

    def _only_its_part(self, write: Write, current: Json, obj: Json) -> Json:
        """The main endpoint leaves status alone; /status leaves all but status and some metadata alone."""
        kind = write.kind
        if write.subresource in ("status", "approval"):
            part: Json = copy_json(current)
            part["apiVersion"] = obj["apiVersion"]
            if "status" in obj:
                part["status"] = obj["status"]
            else:
                part.pop("status", None)
            if "managedFields" in obj["metadata"]:
                part["metadata"]["managedFields"] = obj["metadata"]["managedFields"]
            if not kind.custom:
                for name in ("labels", "annotations"):
                    if name in obj["metadata"]:
                        part["metadata"][name] = obj["metadata"][name]
            return part
        if write.keeps_status:
            if "status" in current:
                obj["status"] = copy_json(current["status"])
            else:
                obj.pop("status", None)
        return obj

    def _complete(self, write: Write, obj: Json, current: Json | None) -> list[Json]:
        """Defaults, admission, and the verdict; the quotas that are to be charged for it."""
        kind = write.kind
        schema = write.schema
        self._default(write, obj)
        operation = "CREATE" if current is None else "UPDATE"
        self.admission.mutate(write.user, kind, obj, current, write.subresource)
        if self.webhooks.mutate(write, operation, obj, current):
            if schema is not None:
                prune(obj, schema)
            self._default(write, obj)
        if current is None:
            self._name(write, obj)
        causes: list[Cause] = []
        if schema is not None:
            causes += validate(obj, schema, old=current)
        causes += validate_builtin(obj, current, write.version.scale)
        if causes:
            raise status.invalid(kind, write.name, causes)
        self.admission.validate(write.user, kind, obj, current, write.subresource)
        self.webhooks.validate(write, operation, obj, current)
        return self._quotas.check(write, obj, current)

    def _name(self, write: Write, obj: Json) -> None:
        """Of a new object; whoever refused it before that had only generateName to call it by."""
        write.name = obj["metadata"].get("name") or ""  # which a webhook may have given it
        if not write.name and (prefix := obj["metadata"].get("generateName")):
            obj["metadata"]["name"] = self._generate(write, prefix)
            self._default(write, obj)  # what is made of the name

    def _default(self, write: Write, obj: Json) -> None:
        schema = write.schema
        if not write.kind.custom:
            default_builtin(obj)
        elif schema is not None:
            default(obj, schema)

    def _time(self, write: Write) -> str:
        """Of this write."""
        write.memory.now = write.memory.now or self.now()
        return write.memory.now

    def _track(self, write: Write, current: Json | None, obj: Json) -> Json:
        return fieldmanager.track_update(
            current,
            obj,
            manager=write.manager,
            subresource=write.subresource,
            schema=write.schema,
            now=self._time(write),
            has_status=not write.kind.custom or write.version.status,
        )

    def _generate(self, write: Write, prefix: str) -> str:
        chance = random.Random(write.memory.uid)
        for _ in range(8):
            write.name = prefix[:58] + "".join(chance.choices(_SUFFIX, k=5))
            if self.store.get(write.kind.key, write.key) is None:
                return write.name
        raise status.already_exists(write.kind, prefix)
