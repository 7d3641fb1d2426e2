"""The commands of ``rsprune``, one module a topic: thin doors that import the library only when they run."""
