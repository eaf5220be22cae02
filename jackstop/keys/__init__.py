"""Virtual keys: their format, their policy, and the acts on them."""
