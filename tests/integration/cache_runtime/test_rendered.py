"""An API server takes everything that the backends render, with every field that they honour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from addon_framework.api.core import JOBS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import ApiError, Client
from addons.cache_runtime.agent import volumes
from addons.cache_runtime.agent.cleaning import job_for
from addons.cache_runtime.agent.components import objects
from runtimes.validation import problems
from tests.unit.runtimes.fields import SAMPLES, bind, leaves, spec_of
from tests.unit.runtimes.test_fields_of_runtimes import given


def rendered(name: str) -> Iterator[tuple[str, Resource, Json]]:
    """Of the sample, and of it with each field by itself; what is refused renders nothing."""
    sample = SAMPLES[name]
    specs: list[tuple[str, Any]] = [("", sample.spec)]
    specs += [(".".join(p), given(name, p, value)) for p, value in leaves(spec_of(sample.kind))]
    seen = set()
    for field, spec in specs:
        bound = bind(sample, spec=spec)
        if problems(bound.backend, bound.cache):
            continue
        made = [
            *objects(bound),
            (JOBS, job_for(bound, "node", "clean", "demo")),
            (PERSISTENTVOLUMES, volumes.persistent_volume(bound)),
            (PERSISTENTVOLUMECLAIMS, volumes.claim(bound)),
        ]
        for resource, obj in made:
            if (text := repr(obj)) not in seen:
                seen.add(text)
                yield field, resource, obj


@pytest.mark.parametrize("name", SAMPLES)
async def test_what_a_backend_renders_is_taken(client: Client, namespace: str, name: str) -> None:
    refused = []
    for field, resource, obj in rendered(name):
        metadata = {**obj["metadata"]}
        metadata.pop("ownerReferences", None)
        if resource.namespaced:
            metadata["namespace"] = namespace
        try:
            await client.request(
                "POST",
                resource.path(namespace if resource.namespaced else None),
                body={**obj, "metadata": metadata},
                params={"dryRun": "All", "fieldValidation": "Strict"},
            )
        except ApiError as error:
            refused.append(f"{field or 'the sample'}: {obj['kind']} {metadata['name']}: {error}")
    assert not refused, "\n".join(refused)
