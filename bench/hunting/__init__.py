"""The runners of bench_hunt: each a program of its own, so that its memory is its own."""
