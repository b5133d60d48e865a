"""The spoke's side: how an endpoint fares here, and the engine host that makes the next replica quick."""
