"""Decides which endpoint a connection goes to, from predicted load alone."""
