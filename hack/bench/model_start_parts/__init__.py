"""What hack/bench/model_start.py is made of: the ground, the ways to get a model, the reader."""
