"""Sweeps: one file says what to run, for which values; each cell is a process of its own, with a result of its own.

`sweep_file` reads and checks the file, `grid` makes its cells, `keys` names them by content, `cell` runs one,
`attempts` keeps its files whole, `engines` runs many (here, or on a Dask cluster), `reproduce` does it all. `store` and
`published` hold results, `page` shows them. Nothing here imports PyTorch before it needs it.
"""
