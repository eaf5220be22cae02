"""The gateways that Jackstop is measured beside: one module per peer, all with the same four names.

`NAME`; `install(cache)`, once, into a folder of its own below the cache; `version(cache)`; and
`start(cache, folder, upstream, *, cores, workers, keys, …)`, which gives a `base.Running`. A peer that this machine
cannot have raises `base.Unavailable`, and the page says so.
"""

from importlib import import_module

NAMES = ("jackstop", "nginx", "envoy", "tensorzero", "portkey", "litellm")


def peer(name):
    """The module of a peer."""
    return import_module(f"{__name__}.{name}")


def versions(cache, names=NAMES):
    """The version of each peer that is installed by now."""
    found = {}
    for name in names:
        try:
            found[name] = peer(name).version(cache)
        except Exception as error:
            found[name] = f"not measured ({type(error).__name__})"
    return found
