"""A running gate under attack: the attacker's key, and a neighbour at work who must not notice."""

from contextlib import contextmanager

from tests.acceptance import callers
from tests.acceptance.sockets import Neighbour, rss_mb
from tests.acceptance.system import System


class Besieged:
    """The gate, the attacker's key, which `options` are for, and the neighbour."""

    def __init__(self, running, *options):
        self.system = running
        self.port = running.port
        self.key, self.key_id = running.key("--budget", "none", "--provider", "openai", *options, name="attacker")
        neighbour_key, _ = running.key("--budget", "none", "--provider", "anthropic", name="neighbour")
        self.neighbour = Neighbour(running.port, neighbour_key)

    def seen(self):
        """Requests of the attacker's that a provider saw."""
        return sum(row["provider"] == "openai" for row in callers.provider_rows(self.system).values())

    def rss_mb(self):
        return sum(rss_mb(pid) for pid in self.system.gates())


@contextmanager
def under_attack(folder, settings, *options):
    """Such a gate, for the block."""
    running = System(folder, environment=settings)
    running.set_up().up()
    found = Besieged(running, *options)
    found.neighbour.start()
    yield found
    found.neighbour.stop()
    running.close()
