"""`bosrow prepare`: from a corpus to a data set, by several processes, resumable to the byte."""
