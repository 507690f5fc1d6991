"""Everything that runs as a process: the jobs, and the `stockbatch` command."""
