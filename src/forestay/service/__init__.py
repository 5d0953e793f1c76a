"""Shows a running forestay and takes orders: the HTTP API, metrics and logs."""
