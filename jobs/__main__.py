"""`python -m jobs` is `stockbatch`."""

from jobs.cli import main

if __name__ == "__main__":
    main()
