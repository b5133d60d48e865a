"""What goes wrong with plug-ins."""

from __future__ import annotations


class PluginError(Exception):
    """A plug-in cannot be used; the message says which, of which distribution, and why."""


class PluginMissing(PluginError):
    """No plug-in has this name; the message says which there are."""


class PluginBusy(PluginError):
    """The plug-in is in a call that takes long; ask again in a moment."""
