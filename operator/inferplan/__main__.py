"""Run the command line as ``python -m inferplan``."""

from inferplan.cli.app import main

if __name__ == "__main__":
    main()
