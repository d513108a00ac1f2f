"""The ngspice engine: the judge of every other engine, because it solves the very deck that a user can run by hand.

`engine` is what a caller needs. Below it, `process` supervises a worker process, `worker` is that process, `resident`
keeps a circuit solved in it, and `library` is libngspice as PySpice binds it.
"""

# Nothing is imported here: the worker is started as a module of this package and must be up in no time.

__all__: list[str] = []
