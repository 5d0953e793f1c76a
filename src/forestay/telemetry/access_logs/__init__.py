"""What the access logs of other balancers say about where connections went, one module a format."""
