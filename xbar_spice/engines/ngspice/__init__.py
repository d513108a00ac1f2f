"""The ngspice engine: the judge of every other engine, because it solves the very deck that a user can run by hand.

`engine` is what a caller needs. Below it, `supervised_circuit` keeps a circuit in a worker process and answers for it,
`worker_handle` holds that process, `worker` is it, `resident` keeps a circuit solved in it, and `library` is libngspice
as PySpice binds it.
"""

# Nothing is imported here: the worker is started as a module of this package and must be up in no time.

__all__: list[str] = []
