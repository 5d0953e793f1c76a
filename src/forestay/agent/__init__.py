"""Runs beside a server and reports its load once a second: `run_agent(AgentSettings(...))`."""
