"""The work agent: makes on this cluster what ManifestWorks say, and says on the hub what became of it."""
