"""Copies files between any source and a bucket or directory; all backends migrate by it."""

from runtimes.migrate.task import migrate_task

__all__ = ["migrate_task"]
