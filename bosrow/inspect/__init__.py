"""Looking at a data set: `bosrow inspect`, `trace` and `policies`. Nothing here changes one."""
