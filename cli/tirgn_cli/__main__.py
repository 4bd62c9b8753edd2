"""`python -m tirgn_cli` is `tirgn`."""

from tirgn_cli.app import main

main()
