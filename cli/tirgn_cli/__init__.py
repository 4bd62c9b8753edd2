"""The `tirgn` command line: reads options, calls `tirgn_eqx`, shows what comes back."""
