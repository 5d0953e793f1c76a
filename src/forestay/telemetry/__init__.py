"""Brings load reports in: measured beside a server, posted by anybody, or pulled from a Prometheus page."""
