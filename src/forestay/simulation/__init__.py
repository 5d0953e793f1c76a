"""Judges placement rules on the same simulated traffic: the balancer of the live loop, its peers, and the limits."""
