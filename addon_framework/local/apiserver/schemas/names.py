"""What names, labels and annotation keys may look like, in the server's words."""

from __future__ import annotations

import re
from collections.abc import Callable

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_PORT_NAME = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    f"'{_LABEL}')"
)
_DNS1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
    f"validation is '{_DNS1035}')"
)
_NAME_PART_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED}')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
    f"for validation is '{_VALUE}')"
)
_CONFIG_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    f"'KEY_NAME',  or 'key-name', regex used for validation is '{_CONFIG_KEY}')"
)

_is_qualified = re.compile(_QUALIFIED, re.ASCII).fullmatch
_is_port_name = re.compile(_PORT_NAME, re.ASCII).fullmatch


def _form(pattern: str, limit: int, text: str) -> Callable[[str], list[str]]:
    matches = re.compile(pattern, re.ASCII).fullmatch

    def wrong(name: str) -> list[str]:
        longer = [f"must be no more than {limit} bytes"] if len(name) > limit else []
        return longer + ([] if matches(name) else [text])

    return wrong


subdomain = _form(_SUBDOMAIN, 253, _SUBDOMAIN_TEXT)  # most object names
label = _form(_LABEL, 63, _LABEL_TEXT)  # names of namespaces, containers and volumes
dns1035 = _form(_DNS1035, 63, _DNS1035_TEXT)  # names of resources in CRDs; Services until recently
label_value = _form(_VALUE, 63, _VALUE_TEXT)
_config_key = _form(_CONFIG_KEY, 253, _CONFIG_KEY_TEXT)


def path_segment(text: str) -> list[str]:
    """Names of roles and bindings, which may hold almost anything."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{each}'" for each in ("/", "%") if each in text]


def qualified(text: str) -> list[str]:
    """Keys of labels and annotations: an optional domain, a slash, a name."""
    wrong: list[str] = []
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return [
            "a qualified name "
            + _NAME_PART_TEXT.removeprefix("name part ")
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if slash:
        if not prefix:
            wrong.append("prefix part must be non-empty")
        else:
            wrong += [f"prefix part {each}" for each in subdomain(prefix)]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > 63:
        wrong.append("name part must be no more than 63 bytes")
    if not _is_qualified(name):
        wrong.append(_NAME_PART_TEXT)
    return wrong


def config_key(text: str) -> list[str]:
    """Keys of Secrets and ConfigMaps, which become file names."""
    wrong = _config_key(text)
    if text in (".", ".."):
        wrong.append(f"must not be '{text}'")
    elif text.startswith(".."):
        wrong.append("must not start with '..'")
    return wrong


def port_name(text: str) -> list[str]:
    """Names of container and service ports."""
    wrong = ["must be no more than 15 characters"] if len(text) > 15 else []
    if not _is_port_name(text):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    elif not any(each.isalpha() for each in text):
        wrong.append("must contain at least one letter (a-z)")
    elif "--" in text:
        wrong.append("must not contain consecutive hyphens")
    return wrong


def env_name(text: str) -> list[str]:
    """Names of environment variables: printable ASCII without '='."""
    if all(" " <= each <= "~" and each != "=" for each in text):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
    ]
