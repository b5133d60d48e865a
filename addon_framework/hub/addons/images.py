"""Image names and the registries that mirror them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable

from addon_framework.api.meta import Json

IMAGE_REGISTRIES_ANNOTATION = "open-cluster-management.io/image-registries"


class BadRegistries(ValueError):
    """The cluster's annotation is not what it must be."""


def mirrored(image: str, *tables: Iterable[Json]) -> str:
    """Where to take the image from: as the first table says that knows of it, there by the longest source.

    Of two equal sources the later one holds, and an empty source means every image, of which the last part
    of the name is kept: so has OCM it.
    """
    for table in tables:
        known = [entry for entry in table if _is_under(image, _source(entry))]
        if known:
            entry = max(reversed(known), key=lambda each: len(_source(each)))
            source, mirror = _source(entry), str(entry["mirror"]).rstrip("/")
            if source:
                return mirror + image[len(source) :]
            return "/".join(filter(None, (mirror, image.rpartition("/")[2])))
    return image


def mirrors_of(cluster: Json) -> list[Json]:
    """The image registries that an annotation gives a cluster. Raises BadRegistries."""
    text = (cluster["metadata"].get("annotations") or {}).get(IMAGE_REGISTRIES_ANNOTATION)
    if not text:
        return []
    try:
        registries = json.loads(text)["registries"]
        return [{"source": r.get("source", ""), "mirror": r["mirror"]} for r in registries]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRegistries(
            f"annotation {IMAGE_REGISTRIES_ANNOTATION} of the cluster is not "
            f'{{"registries": [{{"source", "mirror"}}]}}: {error}'
        ) from error


def _source(entry: Json) -> str:
    return str(entry.get("source") or "").rstrip("/")


def _is_under(image: str, source: str) -> bool:
    """Whether the source is the image's name or the beginning of it, up to where a part of the name ends."""
    return not source or (image.startswith(source) and image[len(source) :][:1] in ("", "/", ":", "@"))
