"""Time in the simulator: steps, and the parts of a run."""

STEP_S = 0.1
"""The engine's step. Loads are exact integrals over it; everything but connections changes at steps only."""

STEPS_PER_S = 10

COLD_S = 120.0
"""The cold start, which is reported apart; surges and bursts come later."""

AHEAD_STEPS = 420
"""How far background and capacity are known beyond the end, for policies that look ahead."""
