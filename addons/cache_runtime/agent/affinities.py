"""Rules of where a pod may run, from several who have a say. Pure."""

from __future__ import annotations

from addon_framework.api.meta import Json


def joined(asked: Json, ours: Json) -> Json:
    """What a backend's pod asks for itself and what we do; of requirements all."""
    result = {**ours, **asked}
    for kind in set(asked) & set(ours):
        merged: Json = {}
        for when in (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("required", "preferred")):
            theirs, own = asked[kind].get(when), ours[kind].get(when)
            if not theirs or not own:
                merged[when] = theirs or own
            elif isinstance(own, list):
                merged[when] = [*theirs, *own]
            else:
                pairs = [(a, b) for a in theirs["nodeSelectorTerms"] for b in own["nodeSelectorTerms"]]
                merged[when] = {"nodeSelectorTerms": [both(a, b) for a, b in pairs]}
        result[kind] = {name: value for name, value in merged.items() if value}
    return result


def both(one: Json, other: Json) -> Json:
    """A node selector term that needs both."""
    return {name: [*(one.get(name) or []), *(other.get(name) or [])] for name in {**one, **other}}
