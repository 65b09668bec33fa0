"""`tracker bench`: how much, how soon and for how much memory, measured through the public protocol.

`stand` is what every benchmark has at hand, `target` the server that is measured, `bare` the limit beside it;
`devices` and `viewers` are the load, each a process of its own. One module for each benchmark; `run` runs them,
`report` makes one table of them all. Nothing is imported here: the processes of the load need little of it.
"""
