"""Runs beside a server and reports its load once a second: `await run_agent(AgentSettings(...))`."""

from forestay.agent.agent import run_agent
from forestay.agent.settings import AgentSettings

__all__ = ["AgentSettings", "run_agent"]
