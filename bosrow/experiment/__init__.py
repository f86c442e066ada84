"""`bosrow ab`: an experiment from its TOML file to its report."""
