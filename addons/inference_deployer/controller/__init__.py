"""The hub's side: InferenceDeployment to Placement, ManifestWorks and status."""
