"""An API server that kubectl and controllers accept: one process per embedded cluster, durable in SQLite."""
