"""Shadow mode: observe what a live balancer does, and account for what forestay would have done instead."""
