"""For tests of add-ons: the contract, fixtures (see `plugin`), servers, a clock, waiting for conditions."""

from addon_framework.testing.clock import Clock
from addon_framework.testing.conditions import eventually
from addon_framework.testing.contract import AddonContract
from addon_framework.testing.servers import EmbeddedApiServer

__all__ = ["AddonContract", "Clock", "EmbeddedApiServer", "eventually"]
