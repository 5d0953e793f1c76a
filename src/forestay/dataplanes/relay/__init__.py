"""The built-in data plane: a TCP relay whose worker processes place each connection themselves.

The control process publishes a table of prices into shared memory (`shared_table`), each worker picks from it
(`picker`), connects, moves bytes (`worker` and what it is made of) and tells the control process what happened
(`link`). Workers are apart from the control process, so that its crash, restart or upgrade touches no connection.
`plane.RelayPlane` is the control process's side. Import from the modules: workers do without asyncio this way.
"""
