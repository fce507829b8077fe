"""The command line: typer commands, each in its own module, and what they share."""
