"""The benchmarks of language, one small file each."""
