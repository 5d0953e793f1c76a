"""Turns the crank once a second; says in Protocols what it needs of the adapters around it."""
