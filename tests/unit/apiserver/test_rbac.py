"""Who may do what follows the bindings, one change at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from addon_framework.api.meta import Json
from addon_framework.local.apiserver.authn import User
from addon_framework.local.apiserver.rbac import GROUP, Access, Authorizer
from addon_framework.local.apiserver.store import Store

READ = Access("get", resource="pods", namespace="a", name="p")
ANN = User("ann", ("system:authenticated", "readers"))
ROBOT = User("system:serviceaccount:a:robot")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store.db")
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
    role = {"metadata": {"name": "read", "namespace": "a", "uid": "role"}, "rules": rules}
    store.put(f"roles.{GROUP}", ("a", "read"), role)
    yield store
    store.close()


def bind(store: Store, name: str, *subjects: Json) -> None:
    metadata = {"name": name, "namespace": "a", "uid": name}
    binding = {"metadata": metadata, "roleRef": {"kind": "Role", "name": "read"}, "subjects": list(subjects)}
    store.put(f"rolebindings.{GROUP}", ("a", name), binding)


def test_a_binding_gives_its_subjects_their_rights_and_takes_them_along(store: Store) -> None:
    authorizer = Authorizer(store)
    assert not authorizer.allowed(ANN, READ)
    bind(store, "one", {"kind": "User", "name": "ann"}, {"kind": "ServiceAccount", "name": "robot"})
    assert authorizer.allowed(ANN, READ)
    assert authorizer.allowed(ROBOT, READ)
    store.remove(f"rolebindings.{GROUP}", ("a", "one"))
    assert not authorizer.allowed(ANN, READ)
    assert not authorizer.allowed(ROBOT, READ)


def test_who_is_no_subject_any_more_has_what_other_bindings_give(store: Store) -> None:
    authorizer = Authorizer(store)
    bind(store, "one", {"kind": "User", "name": "ann"}, {"kind": "Group", "name": "readers"})
    bind(store, "two", {"kind": "Group", "name": "readers"})
    bind(store, "one", {"kind": "User", "name": "bob"})
    assert authorizer.allowed(ANN, READ)
    assert authorizer.allowed(User("bob"), READ)
    store.remove(f"rolebindings.{GROUP}", ("a", "two"))
    assert not authorizer.allowed(ANN, READ)
    assert authorizer.allowed(User("bob"), READ)


def test_a_server_that_starts_knows_the_bindings_that_are_there(store: Store) -> None:
    bind(store, "one", {"kind": "ServiceAccount", "name": "robot", "namespace": "a"})
    assert Authorizer(store).allowed(ROBOT, READ)


def test_rights_in_one_namespace_are_none_in_another(store: Store) -> None:
    authorizer = Authorizer(store)
    bind(store, "one", {"kind": "User", "name": "ann"})
    assert not authorizer.allowed(ANN, Access("get", resource="pods", namespace="b", name="p"))
