"""`python -m jackstop`: the same as the command `jackstop`."""

from jackstop.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
