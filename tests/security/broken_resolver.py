"""A module of a host's that fails when it is imported."""

raise ZeroDivisionError
