"""Registration, the spoke's side: identities on the hub, the cluster's status and lease, add-ons' health."""
