"""What all API servers make of Kubernetes' own documents; importing this makes it, once for all that fork."""

from addon_framework.local.apiserver.schemas.builtin import catalogue

catalogue()
