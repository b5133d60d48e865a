"""A node of an embedded cluster: pods as sandboxed processes, volumes, probes, logs, services."""
