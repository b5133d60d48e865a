"""`python -m addon_framework.local.fleet --dir DIR` is the fleet's supervisor."""

from addon_framework.local.fleet.supervisor import main

main()
