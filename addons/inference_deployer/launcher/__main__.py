"""`python3 DIRECTORY`, wherever the directory is mounted: be the package that relative imports speak of."""

import os
import sys

if not __package__:
    sys.path[0], __package__ = os.path.split(os.path.dirname(os.path.abspath(__file__)))

from .run import main

if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # the watching threads need no farewell
