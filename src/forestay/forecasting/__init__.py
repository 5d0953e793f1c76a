"""Explains load by open connections, and forecasts what is left."""
