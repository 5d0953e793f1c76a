"""`python -m forestay` is `forestay`."""

from forestay.cli import main

main()
