"""The main job on real connections, in one command: throttled servers, bursts, a crash, three policies compared."""
