"""The webhooks: pods that use Datasets find their data, and what could never work is refused at once."""
