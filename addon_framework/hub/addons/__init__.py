"""The add-on manager: install, configure, register, deploy, tell health and progress."""
