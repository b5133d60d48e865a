"""The file that runs inside the engine's own image; see launcher.py."""
